/**
 * The interceptor that takes JSON Web Tokens (RFC 7519) of the user's own identity provider.
 *
 * Which algorithms may have signed is said by the kind of the keys, never by the token: a secret verifies HS, an RSA key RS
 * and PS, a key of a curve only what belongs to that curve.
 */
import { isUtf8 } from 'node:buffer';
import { createPublicKey, type JsonWebKeyInput, KeyObject } from 'node:crypto';
import { MAX_DELAY } from '../../clock.ts';
import { checkNames, type Names } from '../../option-names.ts';
import type { Attributes, HandshakeRequest } from '../../server/transport.ts';
import { isRecord } from '../is-record.ts';
import type { Log, PushInterceptor } from '../options.ts';
import { arrivalOf } from './arrival.ts';
import { isJwt, say, ticketOf } from './interceptors.ts';
import { type Jose, type JoseKey, type JoseKeys, type JoseVerifyOptions, loadJose } from './jose.ts';
import { Jwks, KeysAwayError } from './jwks.ts';
import { refusal, tryAgain } from './refusals.ts';
import { NotUtf8Error } from './request.ts';
import { isTicket } from './ticket.ts';

type OneOrMore<T> = T | readonly T[];
/** Types of later Nodes have it nowhere else. */
type Jwk = JsonWebKeyInput['key'];

/** One of `secret`, `publicKey` and `jwks`. */
export interface JwtOptions {
  /** What HS256, HS384 and HS512 are signed with: at least 32, 48 and 64 bytes (RFC 7518 §3.2). */
  secret?: OneOrMore<string | Uint8Array>;
  /** An RSA key of at least 2,048 bits, one of P-256, P-384 or P-521, or of Ed25519: as PEM (SPKI or a certificate), KeyObject or JWK. */
  publicKey?: OneOrMore<string | KeyObject | Jwk>;
  /** The address of the issuer's keys, such as `https://id.example.com/.well-known/jwks.json`. */
  jwks?: string | URL;
  /** Fewer than the keys allow, such as `['ES256']`. */
  algorithms?: readonly string[];
  /** Who must have issued it (`iss`). Default: anybody who has the key. */
  issuer?: OneOrMore<string>;
  /** For whom it must be (`aud`). Default: for anybody; other services' tokens are taken, too, where the issuer has one key for all. */
  audience?: OneOrMore<string>;
  /** Its `typ`, such as `at+jwt`. Default: any. */
  type?: string;
  /** Milliseconds by which clocks may differ. Default 5,000. */
  leeway?: number;
  /** The claim that is the user's name. Default `sub`. */
  user?: string;
  /** The claim that is the login; of several, the first that is there. Default `sid`, else `jti`. */
  login?: OneOrMore<string>;
  /** The claim that lists topics to subscribe to: an array of names, or names with spaces between them. Default: none. */
  topics?: string;
  /** The cookie that it may come in, besides the other places of a ticket. Default `tidings_ticket`. */
  cookie?: string;
  /** Milliseconds after which the keys of `jwks` are asked for again. Default 600,000. */
  maxAge?: number;
  /** Milliseconds for which they serve while their address does not answer. Default 86,400,000. */
  keep?: number;
  /** Milliseconds that it may take to answer. Default 5,000. */
  timeout?: number;
}

/** Characters. What an HTTP head has room for. */
const MAX_TOKEN = 8192;
const MAX_ID = 256;
const DAY = 86_400_000;
/** The last moment that a Date can be. */
const LAST = 8.64e15;
const BEARER = /^Bearer +([^\s,]+) *$/i;

const HS = { HS256: 32, HS384: 48, HS512: 64 };
const RSA = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'];
const EDWARDS = ['EdDSA', 'Ed25519'];
const CURVES: Record<string, string> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' };

const EXAMPLE = "such as jwt({ jwks: 'https://id.example.com/.well-known/jwks.json' })";
const NAMES: Names<JwtOptions> = {
  secret: true,
  publicKey: true,
  jwks: true,
  algorithms: true,
  issuer: true,
  audience: true,
  type: true,
  leeway: true,
  user: true,
  login: true,
  topics: true,
  cookie: true,
  maxAge: true,
  keep: true,
  timeout: true,
};

/** The token is refused. */
class TokenError extends Error {}

interface Key {
  key: JoseKey;
  algorithms: readonly string[];
}

/**
 * Takes a JSON Web Token from the places of a ticket (the subprotocol `ticket.<token>`, the query parameter `ticket`, a
 * cookie) and from `Authorization: Bearer`. One that is not valid refuses the handshake with 401; a ticket of
 * `signTicket` is left to the next interceptor. The session ends with the token (`exp`, which it must have), unless its
 * page brings another one before. All claims are in `attributes.claims`.
 *
 * Needs the package `jose`, which tidings does not bring: `PushServer.ready` rejects where it is not there.
 *
 * @throws {TypeError} for options that make no sense
 */
export function jwt(options: JwtOptions): PushInterceptor {
  const verifier = new Verifier(options ?? {});
  let log: Log = () => {};

  const said = async (token: string): Promise<Attributes | Response> => {
    try {
      return await verifier.verify(token, log);
    } catch (error) {
      if (error instanceof TokenError) return refusal(401, error.message);
      if (error instanceof KeysAwayError) return tryAgain(error.message, verifier.retryAfter);
      throw error;
    }
  };
  return {
    ready: verifier.ready,

    async before(request, attributes) {
      ({ log } = arrivalOf(request));
      let token: string | undefined;
      try {
        token = tokenOf(request, options.cookie);
      } catch (error) {
        if (error instanceof NotUtf8Error) return refusal(400, error.message);
        throw error;
      }
      if (token === undefined) return undefined;
      const answer = await said(token);
      if (answer instanceof Response) return answer;
      say(attributes, answer);
      return undefined;
    },

    async renew(ticket) {
      return ticket === undefined || isTicket(ticket) ? undefined : said(ticket);
    },
  };
}

/** A bearer of something else is another interceptor's. */
function tokenOf(request: HandshakeRequest, cookie: string | undefined): string | undefined {
  const [, bearer] = BEARER.exec(request.headers.authorization ?? '') ?? [];
  const token = ticketOf(request, {
    cookie,
    bearer: bearer !== undefined && isJwt(bearer) ? bearer : undefined,
  });
  return token === undefined || isTicket(token) ? undefined : token;
}

class Verifier {
  readonly ready: Promise<Jose>;
  readonly #keys: readonly Key[];
  readonly #jwks: Jwks | undefined;
  readonly #algorithms: readonly string[];
  readonly #options: Omit<JoseVerifyOptions, 'algorithms'>;
  readonly #user: string;
  readonly #login: readonly string[];
  readonly #topics: string | undefined;

  constructor(options: JwtOptions) {
    checkNames('jwt', options, NAMES);
    const {
      secret,
      publicKey,
      jwks,
      issuer,
      audience,
      type,
      user = 'sub',
      login = ['sid', 'jti'],
      topics,
    } = options;
    if ([secret, publicKey, jwks].filter((each) => each !== undefined).length !== 1) {
      throw new TypeError(`jwt: give one of secret, publicKey and jwks, ${EXAMPLE}`);
    }
    const time = (name: 'leeway' | 'maxAge' | 'keep' | 'timeout', fallback: number): number => {
      const value = options[name] ?? fallback;
      if (Number.isFinite(value) && value >= 0 && value <= MAX_DELAY) return value;
      throw new TypeError(`jwt: ${name} is ${String(value)}, and must be a number of milliseconds`);
    };
    const leeway = time('leeway', 5_000);
    const times = {
      maxAge: time('maxAge', 600_000),
      keep: time('keep', DAY),
      timeout: time('timeout', 5_000),
    };
    const keys = [...list(secret).map(ofSecret), ...list(publicKey).map(ofPublicKey)];
    this.#jwks = jwks === undefined ? undefined : new Jwks({ url: addressOf(jwks), ...times });
    const possible =
      jwks === undefined
        ? keys.flatMap(({ algorithms }) => algorithms)
        : [...RSA, ...EDWARDS, ...Object.values(CURVES)];
    if (this.#jwks === undefined && keys.length === 0) throw new TypeError('jwt: there is no key');
    const { algorithms = possible } = options;
    const impossible = algorithms.find((name) => !possible.includes(name));
    if (impossible !== undefined || algorithms.length === 0) {
      throw new TypeError(
        `jwt: algorithms can be ${[...new Set(possible)].join(', ')} with what was given, not ${impossible}`,
      );
    }
    this.#algorithms = [...algorithms];
    this.#keys = keys.map(({ key, algorithms: own }) => ({
      key,
      algorithms: own.filter((name) => algorithms.includes(name)),
    }));
    this.#user = textOf('user', user);
    this.#login = list(login).map((name) => textOf('login', name));
    this.#topics = topics === undefined ? undefined : textOf('topics', topics);
    const texts = (name: string, given: OneOrMore<string> | undefined): string[] | undefined => {
      if (given === undefined) return undefined;
      const all = list(given).map((each) => textOf(name, each));
      if (all.length === 0) throw new TypeError(`jwt: ${name} names nobody`);
      return all;
    };
    const [issuers, audiences] = [texts('issuer', issuer), texts('audience', audience)];
    this.#options = {
      clockTolerance: leeway / 1000,
      requiredClaims: ['exp'],
      ...(issuers !== undefined && { issuer: issuers }),
      ...(audiences !== undefined && { audience: audiences }),
      ...(type !== undefined && { typ: textOf('type', type) }),
    };
    this.ready = loadJose();
    // Whoever does not ask is told by each handshake.
    this.ready.catch(() => {});
  }

  get retryAfter(): number {
    return this.#jwks?.retryAfter ?? 1;
  }

  /** @throws {TokenError} {KeysAwayError} {Error} where jose is not there */
  async verify(token: string, log: Log): Promise<Attributes> {
    const jose = await this.ready;
    const { alg, kid, crit } = headOf(token);
    // RFC 7515 §4.1.11: of what must be understood we know nothing.
    if (crit !== undefined) throw new TokenError('the token has a `crit` header');
    if (typeof alg !== 'string' || !this.#algorithms.includes(alg)) {
      throw new TokenError('the token is signed in a way that is not allowed here');
    }
    if (kid !== undefined && (typeof kid !== 'string' || kid.length > MAX_ID)) {
      throw new TokenError("the token's kid can not be one");
    }
    const keys: (JoseKey | JoseKeys)[] =
      this.#jwks === undefined
        ? this.#keys.filter(({ algorithms }) => algorithms.includes(alg)).map(({ key }) => key)
        : [await this.#jwks.keysFor(kid, jose, log)];
    return this.#attributesOf(await this.#first(jose, token, keys, alg));
  }

  async #first(
    jose: Jose,
    token: string,
    keys: readonly (JoseKey | JoseKeys)[],
    alg: string,
  ): Promise<Record<string, unknown>> {
    let problem: unknown;
    for (const key of keys) {
      try {
        return (await verified(jose, token, key, { ...this.#options, algorithms: [alg] })).payload;
      } catch (error) {
        problem = error;
        // By another key it would be the same.
        if (codeOf(error) !== SIGNATURE) break;
      }
    }
    throw new TokenError(messageOf(problem));
  }

  #attributesOf(claims: Record<string, unknown>): Attributes {
    const own = (name: string | undefined): unknown =>
      name !== undefined && Object.hasOwn(claims, name) ? claims[name] : undefined;
    const user = own(this.#user);
    if (typeof user !== 'string') throw new TokenError(`the token names no user: ${this.#user} is no string`);
    const login = this.#login.map(own).find((each) => each !== undefined);
    const topics = own(this.#topics);
    return {
      user,
      expires: Math.min((claims['exp'] as number) * 1000, LAST),
      claims,
      ...(login !== undefined && { login: login as string }),
      ...(topics !== undefined && {
        topics: typeof topics === 'string' ? topics.split(' ').filter(Boolean) : (topics as string[]),
      }),
    };
  }
}

const SIGNATURE = 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED';

/** Where a set has several keys for a token that names none, jose hands them out to be tried. */
async function verified(
  jose: Jose,
  token: string,
  key: JoseKey | JoseKeys,
  options: JoseVerifyOptions,
): Promise<{ payload: Record<string, unknown> }> {
  try {
    return await jose.jwtVerify(token, key, options);
  } catch (error) {
    if (codeOf(error) !== 'ERR_JWKS_MULTIPLE_MATCHING_KEYS') throw error;
    let problem: unknown = error;
    for await (const candidate of error as AsyncIterable<JoseKey>) {
      try {
        return await jose.jwtVerify(token, candidate, options);
      } catch (failure) {
        problem = failure;
        if (codeOf(failure) !== SIGNATURE) break;
      }
    }
    throw problem;
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}

/** As the page is told. What a stranger has signed is not worth more words. */
function messageOf(error: unknown): string {
  const code = codeOf(error);
  if (code === 'ERR_JWT_EXPIRED') return 'the token has expired';
  if (code === 'ERR_JWT_CLAIM_VALIDATION_FAILED')
    return `the token is not for here: ${(error as Error).message}`;
  if (code === SIGNATURE || code === 'ERR_JWKS_NO_MATCHING_KEY')
    return 'the token is not signed by whom it should be';
  return 'the token is not valid';
}

/** The token's header, after all of the token was looked at as far as that can be done without a key. @throws {TokenError} */
function headOf(token: string): Record<string, unknown> {
  if (token.length > MAX_TOKEN) throw new TokenError(`the token has more than ${MAX_TOKEN} characters`);
  if (!isJwt(token)) throw new TokenError('not a JSON Web Token');
  const parts = token.split('.');
  // One token has one form: base64url of the same bytes can be written in more than one way.
  const [head, claims] = parts.map((part) => {
    const bytes = Buffer.from(part, 'base64url');
    if (bytes.toString('base64url') !== part) throw new TokenError('the token is not base64url');
    return bytes;
  }) as [Buffer, Buffer];
  const header = objectOf(head);
  objectOf(claims);
  return header;
}

/** @throws {TokenError} for no JSON object, or one that two readers can understand in two ways */
function objectOf(bytes: Buffer): Record<string, unknown> {
  let value: unknown;
  const text = bytes.toString();
  try {
    if (isUtf8(bytes)) value = JSON.parse(text);
  } catch {
    // No JSON, so no object either.
  }
  if (!isRecord(value)) throw new TokenError('the token holds no JSON object');
  if (namesIn(text) !== namesOf(value)) throw new TokenError('the token says something twice');
  return value;
}

/** Members of all objects of a JSON text. */
function namesIn(text: string): number {
  let count = 0;
  // Strings one after another: one before a colon is a name.
  for (const [, colon] of text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g)) if (colon !== undefined) count++;
  return count;
}

/** The same of the value: of those of one name only the last is left. */
function namesOf(value: object): number {
  let count = 0;
  const waiting: object[] = [value];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (!Array.isArray(next)) count += Object.keys(next).length;
    for (const each of Object.values(next)) if (typeof each === 'object' && each !== null) waiting.push(each);
  }
  return count;
}

function ofSecret(secret: string | Uint8Array): Key {
  const bytes = secret instanceof Uint8Array ? Buffer.from(secret) : Buffer.from(textOf('secret', secret));
  if (bytes.includes('-----BEGIN')) {
    throw new TypeError('jwt: secret is a key in PEM form, which others may have: give it as publicKey');
  }
  const algorithms = Object.keys(HS).filter((name) => bytes.length >= HS[name as keyof typeof HS]);
  if (algorithms.length === 0) throw new TypeError('jwt: a secret must have at least 32 bytes');
  return { key: bytes, algorithms };
}

function ofPublicKey(given: string | KeyObject | Jwk): Key {
  const key = publicKeyOf(given);
  const { asymmetricKeyType: type, asymmetricKeyDetails: { modulusLength = 0, namedCurve = '' } = {} } = key;
  const curve = CURVES[namedCurve];
  if (type === 'rsa' && modulusLength >= 2048) return { key, algorithms: RSA };
  if (type === 'ed25519') return { key, algorithms: EDWARDS };
  if (type === 'ec' && curve !== undefined) return { key, algorithms: [curve] };
  throw new TypeError(
    `jwt: publicKey is ${type} ${namedCurve || modulusLength || ''}, which no token can be verified with`,
  );
}

function publicKeyOf(given: string | KeyObject | Jwk): KeyObject {
  try {
    if (given instanceof KeyObject) {
      if (given.type === 'public') return given;
    } else if (typeof given === 'string') {
      if (!given.includes('PRIVATE KEY')) return createPublicKey(given);
    } else if (given.d === undefined) return createPublicKey({ key: given, format: 'jwk' });
  } catch (error) {
    throw new TypeError('jwt: publicKey can not be read: PEM, a KeyObject or a JWK', { cause: error });
  }
  throw new TypeError('jwt: publicKey is no public key: whoever has a private key can sign');
}

function addressOf(jwks: string | URL): URL {
  const url = URL.canParse(jwks) ? new URL(jwks) : undefined;
  // Node's fetch takes none with a password in it.
  if (url !== undefined && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '')
    return url;
  throw new TypeError('jwt: jwks must be an address that begins with https:// or http://');
}

function list<T>(given: OneOrMore<T> | undefined): readonly T[] {
  if (given === undefined) return [];
  return Array.isArray(given) ? given : [given as T];
}

function textOf(name: string, value: unknown): string {
  if (typeof value === 'string' && value !== '') return value;
  throw new TypeError(`jwt: ${name} must be text`);
}
