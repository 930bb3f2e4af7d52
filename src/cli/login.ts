/** How pages sign in at `tidings serve` by what others have signed, and until when they stay. */
import { type ExpiryOptions, type JwtOptions, jwt, signedTicket } from '../push/index.ts';
import type { PushInterceptor } from '../push/options.ts';
import { loginOptions, secretsOf } from './login-options.ts';
import { UsageError, type Values } from './options.ts';

type LoginSettings = Values<typeof loginOptions>;

/** @throws {UsageError} for what makes no sense */
export function loginInterceptors(settings: LoginSettings): PushInterceptor[] {
  const { jwks, jwtSecret, jwtKey } = settings;
  const interceptors: PushInterceptor[] = [];
  const secret = secretsOf(settings.secret, settings.secretFile);
  if (secret.length > 0) interceptors.push(signedTicket({ secret }));
  const given = [jwks !== undefined, jwtSecret.length > 0, jwtKey.length > 0].filter(Boolean).length;
  if (given > 1) throw new UsageError('give one of --jwks, --jwt-secret and --jwt-key');
  if (given === 1) interceptors.push(byFlags(() => jwt(jwtOptions(settings))));
  else if (jwtSettings(settings).length > 0) {
    throw new UsageError(
      `--${jwtSettings(settings)[0]} is for tokens: give --jwks, --jwt-secret or --jwt-key`,
    );
  }
  return interceptors;
}

export function expiryOptions({ expiryLeeway, plainExpiry }: LoginSettings): ExpiryOptions {
  return { leeway: expiryLeeway, plain: plainExpiry };
}

/** Names what is wrong as whoever set it knows it. */
const FLAGS: Record<string, string> = {
  jwks: '--jwks',
  secret: '--jwt-secret',
  publicKey: '--jwt-key',
  algorithms: '--jwt-algorithms',
};

function byFlags<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new UsageError(error.message.replace(/^jwt: (\w+)/, (whole, name: string) => FLAGS[name] ?? whole));
  }
}

function jwtOptions(settings: LoginSettings): JwtOptions {
  const { jwks, jwtSecret, jwtKey, jwtAlgorithms, jwtIssuer, jwtAudience, jwtType, jwtLogin, jwtTopics } =
    settings;
  return {
    ...(jwks !== undefined && { jwks }),
    ...(jwtSecret.length > 0 && { secret: jwtSecret }),
    ...(jwtKey.length > 0 && { publicKey: jwtKey.map(({ text }) => text) }),
    ...(jwtAlgorithms.length > 0 && { algorithms: jwtAlgorithms }),
    ...(jwtIssuer.length > 0 && { issuer: jwtIssuer }),
    ...(jwtAudience.length > 0 && { audience: jwtAudience }),
    ...(jwtType !== undefined && { type: jwtType }),
    ...(jwtLogin.length > 0 && { login: jwtLogin }),
    ...(jwtTopics !== undefined && { topics: jwtTopics }),
    user: settings.jwtUser,
    cookie: settings.jwtCookie,
    leeway: settings.expiryLeeway,
  };
}

/** The flags that say how tokens are, where they were given. */
function jwtSettings(settings: LoginSettings): string[] {
  const { jwtAlgorithms, jwtIssuer, jwtAudience, jwtType, jwtLogin, jwtTopics } = settings;
  return Object.entries({
    'jwt-algorithms': jwtAlgorithms[0],
    'jwt-issuer': jwtIssuer[0],
    'jwt-audience': jwtAudience[0],
    'jwt-type': jwtType,
    'jwt-login': jwtLogin[0],
    'jwt-topics': jwtTopics,
    'jwt-user': settings.jwtUser === loginOptions.jwtUser.fallback ? undefined : settings.jwtUser,
    'jwt-cookie': settings.jwtCookie === loginOptions.jwtCookie.fallback ? undefined : settings.jwtCookie,
  }).flatMap(([flag, value]) => (value === undefined ? [] : [flag]));
}
