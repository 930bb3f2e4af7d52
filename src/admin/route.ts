/** What a route of the admin API is: one table of them is the API, its OpenAPI document and its reference. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Schema } from './schemas.ts';

/** What a token may do: look, change what was or will be sent, change who is there and what he may have. */
export const SCOPES = ['read', 'send', 'control'] as const;
export type Scope = (typeof SCOPES)[number];

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

export interface Call {
  request: IncomingMessage;
  response: ServerResponse;
  /** The parts of the path, decoded, by the names in braces. */
  names: Record<string, string>;
  /** The parameters of the query, of those that the route has. */
  query: Record<string, string>;
  /** What the audit line says besides, such as how many users there were. */
  audit: Record<string, string | number | boolean>;
}

export interface Answer {
  status: number;
  /** What JSON can say. */
  body: unknown;
}

export interface Parameter {
  description: string;
  schema: Schema;
}

export interface Documented {
  description: string;
  schema: Schema;
  /** Default application/json. */
  type?: string;
}

export interface Route {
  method: Method;
  /** With the names of its parts in braces: `/api/users/{user}/messages`. */
  path: string;
  /** What a token needs; undefined: anybody may ask. */
  scope: Scope | undefined;
  /** Who needs no token nevertheless. */
  isOpenTo?(request: IncomingMessage): boolean;
  /** Unique, in camelCase: for programs that are made from the OpenAPI document. */
  operation: string;
  summary: string;
  /** By name. What is not here is refused, but in what only reads and has none. */
  query?: Record<string, Parameter>;
  /** It sends: of what is sent often, the log only has how much there was. */
  isSending?: true;
  /** It takes an Idempotency-Key. */
  isIdempotent?: true;
  body?: { description: string; schema: Schema; isOptional?: true };
  /** By status. */
  answers: Record<number, Documented>;
  /** Codes of errors besides those that any route has, by status. */
  errors?: Record<number, string[]>;
  /** Undefined: it has answered by itself. */
  handle(call: Call): Answer | undefined | Promise<Answer | undefined>;
}

const PART = /\{(\w+)\}/g;

/** Finds routes by the paths of requests. */
export class RouteTable {
  readonly routes: readonly Route[];
  readonly #paths = new Map<string, { pattern: RegExp; names: string[]; methods: Map<string, Route> }>();

  constructor(routes: readonly Route[]) {
    this.routes = routes;
    for (const route of routes) {
      let entry = this.#paths.get(route.path);
      if (entry === undefined) {
        const pattern = new RegExp(`^${route.path.replace(PART, '([^/]+)')}$`);
        const names = [...route.path.matchAll(PART)].map(([, name]) => name!);
        entry = { pattern, names, methods: new Map() };
        this.#paths.set(route.path, entry);
      }
      entry.methods.set(route.method, route);
    }
  }

  /** @param path as it came, not decoded */
  find(path: string): { methods: ReadonlyMap<string, Route>; names: Record<string, string> } | undefined {
    for (const { pattern, names, methods } of this.#paths.values()) {
      const match = pattern.exec(path);
      if (match === null) continue;
      return { methods, names: Object.fromEntries(names.map((name, i) => [name, match[i + 1]!])) };
    }
    return undefined;
  }
}
