/** What can go wrong with PostgreSQL, and whether a statement may have been executed nevertheless. */

/** An error of the link to PostgreSQL. Messages name the server and what to do, and hold no password. */
export class PostgresError extends Error {
  /** One of the codes in `PostgresErrorCode`. */
  readonly code: PostgresErrorCode;

  constructor(code: PostgresErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'PostgresError';
    this.code = code;
  }
}

/** What went wrong, as `error.code`. */
export type PostgresErrorCode =
  /** PostgreSQL answered with an error, and nothing was changed: see `PostgresReplyError`. */
  | 'POSTGRES_REPLY'
  /** Not connected, and not within the time that statements may wait: nothing was sent. */
  | 'POSTGRES_UNAVAILABLE'
  /** Too much waits: nothing was sent. */
  | 'POSTGRES_QUEUE_FULL'
  /** The connection dropped, or no answer came in time, after a statement was sent: it may have been executed. */
  | 'POSTGRES_OUTCOME_UNKNOWN'
  /** The link was closed: nothing was sent. */
  | 'POSTGRES_CLOSED'
  /** A connection ended or could not be made; it is made again by itself. */
  | 'POSTGRES_CONNECTION'
  /** The database can't be used as it is: a newer tidings has written it, or a right is missing. */
  | 'POSTGRES_SCHEMA';

/** PostgreSQL said why it did not do it, and has rolled it back. */
export class PostgresReplyError extends PostgresError {
  /** Five characters, such as `40001`: see the appendix about error codes in PostgreSQL's manual. */
  readonly sqlstate: string;
  /** What the server said, without what this client adds to the message. */
  readonly reply: string;

  constructor(sqlstate: string, reply: string, what = '', options?: ErrorOptions) {
    super('POSTGRES_REPLY', what === '' ? reply : `${reply} (${sqlstate}, answer to ${what})`, options);
    this.name = 'PostgresReplyError';
    this.sqlstate = sqlstate;
    this.reply = reply;
  }
}

/** True if what failed with this error was certainly not executed, and may succeed when it is sent again. */
export function wasNotExecutedByPostgres(error: unknown): boolean {
  if (error instanceof PostgresReplyError) return mayPass(error.sqlstate);
  if (!(error instanceof PostgresError)) return false;
  return ['POSTGRES_UNAVAILABLE', 'POSTGRES_QUEUE_FULL', 'POSTGRES_CLOSED'].includes(error.code);
}

/** Replies of a server that can't do it just now, and did nothing. */
const PASSING = new Set([
  // Serialization failure, deadlock, a lock that was not to be had, canceled, which a timeout is, too.
  '40001',
  '40P01',
  '55P03',
  '57014',
  // Starting; a standby, or one that was made read-only.
  '57P03',
  '25006',
  // The queue of NOTIFY is full.
  '54000',
]);

/** @param sqlstate what the server answered */
function mayPass(sqlstate: string): boolean {
  // 53: no space, no memory, too many connections; 58: a file could not be read or written.
  return PASSING.has(sqlstate) || sqlstate.startsWith('53') || sqlstate.startsWith('58');
}

/** True for what this role may not do in the database. */
export function isForbiddenByPostgres(error: unknown): boolean {
  return error instanceof PostgresReplyError && error.sqlstate === '42501';
}
