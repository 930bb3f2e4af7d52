/** The settings of how pages sign in by what others have signed, and until when they stay. */
import { integer, list, text } from './options.ts';

/** A secret may have spaces, but is one line. */
const LINES = /[\r\n]+/;

export const secretOption = list(
  'SECRET',
  'Tickets are signed with this, at least 16 bytes; may be repeated: the first signs, all verify',
  LINES,
);

export const loginOptions = {
  secret: secretOption,
  jwks: text(
    'URL',
    'Pages sign in with JSON Web Tokens of the issuer whose keys are at this address; needs the package jose',
  ),
  jwtSecret: list(
    'SECRET',
    'The same, signed with this secret (HS256, HS384, HS512), at least 32 bytes; may be repeated',
    LINES,
  ),
  jwtKey: list(
    'FILE',
    'The same, signed by the owner of the public key in this PEM file; may be repeated',
    LINES,
  ),
  jwtAlgorithms: list('NAME', 'Only these algorithms, such as ES256; may be repeated', /[\s,]+/),
  jwtIssuer: list('ISSUER', 'Who must have issued a token (iss); may be repeated', /\s+/),
  jwtAudience: list('AUDIENCE', 'For whom a token must be (aud); may be repeated', /\s+/),
  jwtType: text('TYPE', 'What a token must be (typ), such as at+jwt'),
  jwtUser: text('CLAIM', "The claim that is the user's name", 'sub'),
  jwtLogin: list('CLAIM', 'The claim that is the login; default: sid, else jti; may be repeated', /\s+/),
  jwtTopics: text('CLAIM', 'The claim that lists topics to subscribe to'),
  jwtCookie: text('NAME', 'The cookie that a token may come in', 'tidings_ticket'),
  expiryLeeway: integer('MS', 'Milliseconds by which clocks may differ, at the end of a login', {
    min: 0,
    max: 3_600_000,
    fallback: 5_000,
  }),
  plainExpiry: text(
    'close|keep',
    'What becomes of pages in plain mode at the end of their login, as they can bring no new ticket',
    'close',
  ),
};
