/**
 * As much of `@opentelemetry/api` as is used here. Who has none need not install it: it is loaded when it is asked for, or
 * handed in.
 */

/** What a context is, only OpenTelemetry knows. */
export type OtelContext = object;

export interface OtelSpanContext {
  traceId: string;
  spanId: string;
  traceFlags: number;
  isRemote?: boolean;
  traceState?: OtelTraceState;
}

export interface OtelTraceState {
  serialize(): string;
}

export interface OtelSpan {
  spanContext(): OtelSpanContext;
  setAttribute(name: string, value: string | number | boolean): unknown;
  setStatus(status: { code: number; message?: string }): unknown;
  recordException(error: Error): unknown;
  end(): void;
}

export interface OtelSpanOptions {
  kind: number;
  attributes: Record<string, string | number | boolean>;
  links?: { context: OtelSpanContext }[];
  startTime?: number;
}

/** The module `@opentelemetry/api`: `import * as api from '@opentelemetry/api'`. */
export interface OpenTelemetry {
  /** Its tracers. */
  trace: {
    getTracer(
      name: string,
      version?: string,
    ): { startSpan(name: string, options: never, context: never): OtelSpan };
    setSpan(context: never, span: never): OtelContext;
    getSpanContext(context: never): OtelSpanContext | undefined;
    setSpanContext(context: never, spanContext: never): OtelContext;
  };
  /** Which span is active. */
  context: { active(): OtelContext };
  /** A context without a span. */
  ROOT_CONTEXT: OtelContext;
  /** Reads a `tracestate` header. */
  createTraceState(text?: string): OtelTraceState;
}

const NAME = '@opentelemetry/api';

/** @throws {Error} saying what to install */
export async function loadOpenTelemetry(name: string = NAME): Promise<OpenTelemetry> {
  let module: { default?: unknown } & Partial<OpenTelemetry>;
  try {
    // Not for bundlers, which would look for it where it was never installed.
    module = await import(/* webpackIgnore: true */ /* @vite-ignore */ name);
  } catch (error) {
    throw new Error(
      'tracing needs the package @opentelemetry/api, which is not installed beside tidings: npm install @opentelemetry/api',
      { cause: error },
    );
  }
  if (!isOpenTelemetry(module)) {
    throw new Error(
      'the package @opentelemetry/api is not one that tidings knows: npm install @opentelemetry/api@1',
    );
  }
  return module;
}

export function isOpenTelemetry(value: unknown): value is OpenTelemetry {
  const { trace, context, ROOT_CONTEXT, createTraceState } = (value ?? {}) as Partial<OpenTelemetry>;
  return (
    typeof trace?.getTracer === 'function' &&
    typeof trace.setSpan === 'function' &&
    typeof trace.getSpanContext === 'function' &&
    typeof trace.setSpanContext === 'function' &&
    typeof context?.active === 'function' &&
    typeof ROOT_CONTEXT === 'object' &&
    typeof createTraceState === 'function'
  );
}
