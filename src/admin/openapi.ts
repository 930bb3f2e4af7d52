/** The OpenAPI 3.1 document of the admin API, made of its routes: what is not in the one is not in the other. */
import type { Documented, Parameter, Route } from './route.ts';
import { type Schema, schemas } from './schemas.ts';

const ERROR: Schema = { $ref: '#/components/schemas/Error' };
const json = (schema: Schema, type = 'application/json') => ({ [type]: { schema } });
const header = (description: string, schema: Schema = { type: 'string' }) => ({
  description,
  schema,
  required: true,
});

interface ErrorAnswer {
  description: string;
  codes: string[];
  headers?: Record<string, object>;
}

const RETRY = { 'Retry-After': header('Seconds.', { type: 'string', pattern: '^[1-9]\\d*$' }) };
const CHALLENGE = { 'WWW-Authenticate': header('What is missing, as RFC 6750 says it.') };

/** By status. */
export const errorAnswers: Record<number, ErrorAnswer> = {
  400: {
    description: 'A name, a parameter or a body that can’t be.',
    codes: ['bad_request', 'bad_name', 'bad_json', 'bad_idempotency_key', 'too_many_users'],
  },
  401: {
    description: 'No token, or one that is none of this server’s.',
    codes: ['token_missing', 'token_wrong'],
    headers: CHALLENGE,
  },
  403: {
    description:
      'The token lacks the scope that `WWW-Authenticate` names, or the server has no token at all.',
    codes: ['scope_missing', 'admin_api_off'],
  },
  404: { description: 'There is no such thing.', codes: ['not_found', 'not_blocked'] },
  405: {
    description: 'Another method.',
    codes: ['method_not_allowed'],
    headers: { Allow: header('What there is.') },
  },
  413: { description: 'The body is too large.', codes: ['body_too_large'] },
  415: { description: 'The body is not declared as JSON in UTF-8.', codes: ['unsupported_media_type'] },
  429: {
    description: 'Too many requests, or too many scheduled messages.',
    codes: ['too_many_requests', 'too_many_scheduled', 'too_many_followers'],
  },
  500: {
    description: 'What the store keeps of the channel is damaged: trying again is of no use.',
    codes: ['damaged'],
  },
  503: {
    description: 'The store or an instance could not be reached: ask again.',
    codes: ['not_stored', 'not_confirmed'],
    headers: RETRY,
  },
};

const nameOf = (status: number): string => `Error${status}`;

/** @param version of the package */
export function openApi(routes: readonly Route[], version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const operations = paths[route.path] ?? {};
    paths[route.path] = operations;
    operations[route.method.toLowerCase()] = operationOf(route);
  }
  return {
    openapi: '3.1.0',
    jsonSchemaDialect: 'https://json-schema.org/draft/2020-12/schema',
    info: {
      title: 'tidings admin API',
      version,
      license: { name: 'MIT', identifier: 'MIT' },
      description:
        'Sends messages to users’ pages, and lets operators look and step in. Names in paths are percent-encoded ' +
        'UTF-8. Each operation names the scope that its token needs. HEAD is answered as GET.',
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'One of the tokens of --admin-token.' },
      },
      parameters: {
        IdempotencyKey: {
          name: 'Idempotency-Key',
          in: 'header',
          description: 'The same request with the same key is stored once within 24 hours.',
          schema: { type: 'string', minLength: 1, maxLength: 255 },
        },
        Traceparent: {
          name: 'traceparent',
          in: 'header',
          description:
            'The trace that sending it belongs to (W3C Trace Context), beside `tracestate`. One that can not be counts as none.',
          schema: { type: 'string' },
        },
      },
      responses: Object.fromEntries(
        Object.entries(errorAnswers).map(([status, { description, codes, headers }]) => [
          nameOf(Number(status)),
          {
            description,
            ...(headers && { headers }),
            content: json({ allOf: [ERROR, { type: 'object', properties: { error: { enum: codes } } }] }),
          },
        ]),
      ),
      schemas,
    },
  };
}

function operationOf(route: Route): Record<string, unknown> {
  const { operation, summary, scope, path, query = {}, isIdempotent, body, answers } = route;
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string', minLength: 1 },
  }));
  const inQuery = Object.entries(query).map(([name, { description, schema }]: [string, Parameter]) => ({
    name,
    in: 'query',
    description,
    schema,
  }));
  const parameters = [
    ...inPath,
    ...inQuery,
    ...(isIdempotent
      ? ['IdempotencyKey', 'Traceparent'].map((name) => ({ $ref: `#/components/parameters/${name}` }))
      : []),
  ];
  return {
    operationId: operation,
    summary,
    ...(scope === undefined
      ? { security: [] }
      : { description: `Scope: \`${scope}\`.`, 'x-tidings-scope': scope }),
    ...(parameters.length > 0 && { parameters }),
    ...(body && {
      requestBody: {
        description: body.description,
        required: body.isOptional !== true,
        content: json(body.schema),
      },
    }),
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, { description, schema, type }]: [string, Documented]) => [
          status,
          { description, content: json(schema, type) },
        ]),
      ),
      ...Object.fromEntries(
        errorsOf(route)
          .filter((status) => !(status in answers))
          .map((status) => [status, { $ref: `#/components/responses/${nameOf(status)}` }]),
      ),
    },
  };
}

/** Which errors a route may answer with, by status. */
function errorsOf({ scope, body, errors = {}, path }: Route): number[] {
  const common = scope === undefined ? [405] : [400, 401, 403, 405, 429, 503];
  const ofBody = body === undefined ? [] : [413, 415];
  const ofChannel = path.includes('{') && scope !== undefined ? [500] : [];
  return [...new Set([...common, ...ofBody, ...ofChannel, ...Object.keys(errors).map(Number)])].sort(
    (a, b) => a - b,
  );
}
