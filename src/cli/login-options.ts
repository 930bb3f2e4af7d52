/** The settings of how pages sign in by what others have signed, and until when they stay. */
import {
  checked,
  choice,
  file,
  fileList,
  integer,
  LINES,
  list,
  type Option,
  reloaded,
  secret,
  type TextFile,
  text,
} from './options.ts';

export const secretOptions = {
  secret: reloaded(
    'new pages',
    secret(
      list(
        'SECRET',
        'Tickets are signed with this, at least 16 bytes; may be repeated: the first signs, all verify',
        LINES,
      ),
    ),
  ),
  secretFile: reloaded(
    'new pages',
    file('FILE', 'The same from a file, one on each line; they come before those of --secret'),
  ),
};

/** All secrets, in their order. */
export function secretsOf(own: readonly string[], file: TextFile | undefined): string[] {
  return [...new Set([...linesOf(file), ...own])];
}

function linesOf(file: TextFile | undefined): string[] {
  return (file?.text ?? '').split(LINES).filter((line) => line.trim() !== '');
}

const ofTokens = <T>(option: Option<T>): Option<T> => reloaded('new pages', option);

export const loginOptions = {
  ...secretOptions,
  jwks: ofTokens(
    text(
      'URL',
      'Pages sign in with JSON Web Tokens of the issuer whose keys are at this address; needs the package jose',
    ),
  ),
  jwtSecret: ofTokens(
    secret(
      list(
        'SECRET',
        'The same, signed with this secret (HS256, HS384, HS512), at least 32 bytes; may be repeated',
        LINES,
      ),
    ),
  ),
  jwtKey: ofTokens(
    fileList('FILE', 'The same, signed by the owner of the public key in this PEM file; may be repeated'),
  ),
  jwtAlgorithms: ofTokens(list('NAME', 'Only these algorithms, such as ES256; may be repeated', /[\s,]+/)),
  jwtIssuer: ofTokens(list('ISSUER', 'Who must have issued a token (iss); may be repeated', /\s+/)),
  jwtAudience: ofTokens(list('AUDIENCE', 'For whom a token must be (aud); may be repeated', /\s+/)),
  jwtType: ofTokens(text('TYPE', 'What a token must be (typ), such as at+jwt')),
  jwtUser: ofTokens(text('CLAIM', "The claim that is the user's name", 'sub')),
  jwtLogin: ofTokens(
    list('CLAIM', 'The claim that is the login; default: sid, else jti; may be repeated', /\s+/),
  ),
  jwtTopics: ofTokens(text('CLAIM', 'The claim that lists topics to subscribe to')),
  jwtCookie: ofTokens(
    checked(text('NAME', 'The cookie that a token may come in', 'tidings_ticket'), (name) =>
      /^[\w!#$%&'*+.^`|~-]+$/.test(name) ? undefined : "can't be the name of a cookie",
    ),
  ),
  expiryLeeway: reloaded(
    'new pages',
    integer('MS', 'Milliseconds by which clocks may differ, at the end of a login', {
      min: 0,
      max: 3_600_000,
      fallback: 5_000,
    }),
  ),
  plainExpiry: reloaded(
    'new pages',
    choice(
      ['close', 'keep'],
      'What becomes of pages in plain mode at the end of their login, as they can bring no new ticket',
      'close',
    ),
  ),
};
