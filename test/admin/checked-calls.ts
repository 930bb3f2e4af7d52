/** Calls of the admin API, each of whose answers is held to the OpenAPI document. */
import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { serving } from './support.ts';

interface Described {
  content?: Record<string, unknown>;
  headers?: Record<string, { schema: object }>;
  $ref?: string;
}

interface Operation {
  operationId: string;
  responses: Record<string, Described>;
  parameters?: { name?: string; in?: string }[];
  requestBody?: object;
  security?: object[];
  'x-tidings-scope'?: string;
}

export interface Document {
  openapi: string;
  info: { version: string };
  paths: Record<string, Record<string, Operation>>;
  components: { responses: Record<string, Described>; schemas: Record<string, object> };
}

export interface Called {
  status: number;
  headers: Headers;
  text: string;
  /** Of JSON. */
  body: Record<string, unknown>;
}

export class CheckedCalls {
  readonly document: Document;
  readonly origin: string;
  /** Which answers there were: `sendToUser 201`. */
  readonly seen = new Set<string>();
  readonly #ajv: Ajv2020;
  readonly #close: () => void;

  private constructor(document: Document, origin: string, close: () => void) {
    this.document = document;
    this.origin = origin;
    this.#close = close;
    this.#ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false });
    this.#ajv.addSchema({ $id: 'https://tidings/openapi', ...document });
  }

  static async start(listener: RequestListener): Promise<CheckedCalls> {
    const { url, close } = await serving(listener);
    const document = (await (await fetch(`${url}/openapi.json`)).json()) as Document;
    return new CheckedCalls(document, url, close);
  }

  close(): void {
    this.#close();
  }

  /** @param init `token` in place of a header; null for none */
  async call(
    method: string,
    path: string,
    { token = 'T', headers = {}, ...init }: RequestInit & { token?: string | null; duplex?: 'half' } = {},
  ): Promise<Called> {
    const response = await fetch(this.origin + path, {
      method,
      ...init,
      headers: {
        ...(token !== null && { Authorization: `Bearer ${token}` }),
        'Content-Type': 'application/json',
        ...(headers as Record<string, string>),
      },
    });
    const text = await response.text();
    this.check(method, path, response, text);
    const isJson = response.headers.get('content-type')?.startsWith('application/json') && text !== '';
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: isJson ? JSON.parse(text) : {},
    };
  }

  /** Holds an answer to the document. */
  check(method: string, path: string, { status, headers }: Response, text: string): void {
    const what = `${method} ${path}: ${status} ${text.slice(0, 200)}`;
    const found = this.#find(path);
    const verb = (method === 'HEAD' ? 'GET' : method).toLowerCase();
    const operation = found?.operations[verb];
    const named = operation?.responses[status] ?? { $ref: `#/components/responses/Error${status}` };
    if (operation !== undefined) {
      assert.ok(operation.responses[status] !== undefined, `not documented: ${what}`);
      this.seen.add(`${operation.operationId} ${status}`);
    }
    const pointer = named.$ref ?? `#/paths/${escaped(found!.path)}/${verb}/responses/${status}`;
    const described = this.#at(pointer);
    for (const [name, { schema }] of Object.entries(described.headers ?? {})) {
      const value = headers.get(name);
      assert.ok(value !== null && this.#ajv.validate(schema, value), `header ${name}: ${what}`);
    }
    const type = headers.get('content-type')?.split(';')[0] ?? '';
    assert.ok(type in (described.content ?? {}), `type ${type}: ${what}`);
    if (method === 'HEAD') assert.equal(text, '');
    else if (type === 'application/json') {
      const validate = this.#schema(`${pointer}/content/application~1json/schema`);
      assert.ok(validate(JSON.parse(text)), `${what}\n${this.#ajv.errorsText(validate.errors)}`);
    }
  }

  /** @param name of a schema of the document */
  checkSchema(name: string, value: unknown): void {
    const validate = this.#schema(`#/components/schemas/${name}`);
    assert.ok(validate(value), this.#ajv.errorsText(validate.errors));
  }

  #find(path: string): { path: string; operations: Record<string, Operation> } | undefined {
    const plain = path.split('?')[0]!;
    for (const [template, operations] of Object.entries(this.document.paths)) {
      const pattern = new RegExp(`^${template.replaceAll(/\{\w+\}/g, '[^/]+')}$`);
      if (pattern.test(plain)) return { path: template, operations };
    }
    return undefined;
  }

  #at(pointer: string): Described {
    let at: unknown = this.document;
    for (const part of pointer.slice(2).split('/')) {
      at = (at as Record<string, unknown> | undefined)?.[part.replaceAll('~1', '/').replaceAll('~0', '~')];
    }
    assert.ok(at, `the document has no ${pointer}`);
    return at as Described;
  }

  #schema(pointer: string): ValidateFunction {
    const fragment = pointer.split('/').map(encodeURIComponent).join('/').replace('%23', '#');
    return this.#ajv.getSchema(`https://tidings/openapi${fragment}`)!;
  }
}

function escaped(part: string): string {
  return part.replaceAll('~', '~0').replaceAll('/', '~1');
}
