/** Logging in to Redis: what a new connection says first, and what the answers mean. */
import { isForbiddenReply, RedisReplyError } from './errors.ts';
import type { ResolvedRedisOptions } from './options.ts';
import { encodeCommand } from './resp-encoder.ts';
import type { RespReply } from './resp-reader.ts';

/** `done`, or why this server can't be used: `refused …`. `undefined` while answers are awaited. */
export type LoginResult = { done: true } | { done: false; why: string } | undefined;

export class Login {
  readonly #options: ResolvedRedisOptions;
  readonly #role: 'master' | undefined;
  /** The commands whose answers are awaited, in order. */
  readonly #commands: string[][] = [];
  #answered = 0;

  /** @param role to refuse a server that has another */
  constructor(options: ResolvedRedisOptions, role: 'master' | undefined) {
    this.#options = options;
    this.#role = role;
    const { username, password, database, clientName } = options;
    const commands = this.#commands;
    if (password !== undefined) {
      commands.push(username === undefined ? ['AUTH', password] : ['AUTH', username, password]);
    }
    if (clientName !== '') commands.push(['CLIENT', 'SETNAME', clientName]);
    if (database !== 0) commands.push(['SELECT', String(database)]);
    if (role !== undefined) commands.push(['ROLE']);
    // It is refused while Redis loads its data.
    commands.push(['PING']);
  }

  /** All commands in one. */
  encode(): Buffer {
    return Buffer.concat(this.#commands.map(encodeCommand));
  }

  reply(value: RespReply): LoginResult {
    const command = this.#next();
    if (command === 'ROLE' && Array.isArray(value) && value[0] !== this.#role) {
      const role = value[0] === 'slave' ? 'read-only replica' : 'server of another kind';
      return { done: false, why: `is a ${role}, not a ${this.#role}` };
    }
    return command === 'PING' ? { done: true } : undefined;
  }

  replyError(message: string): LoginResult {
    const command = this.#next();
    // One that can't save what it has refuses writes, and PING so that it is noticed; it can be read and subscribed to.
    if (command === 'PING' && new RedisReplyError(message).prefix === 'MISCONF') return { done: true };
    // A user that may not name its connection or ask for the role can do without, and one that may not PING is
    // logged in. A replica that passes for a master answers READONLY.
    if (isForbiddenReply(message) && command !== 'AUTH' && command !== 'SELECT') {
      return command === 'PING' ? { done: true } : undefined;
    }
    return { done: false, why: this.#explainRefusal(command, message) };
  }

  #next(): string | undefined {
    return this.#commands[this.#answered++]?.[0];
  }

  /** In Redis' own words, but for the password, which it repeats where it does not know AUTH. */
  #explainRefusal(command: string | undefined, message: string): string {
    const { password } = this.#options;
    let words = message.replace(/,? with args beginning with:.*/s, '');
    if (password) words = words.replaceAll(password, '…');
    const { prefix } = new RedisReplyError(words);
    if (prefix === 'LOADING') return 'is loading its data';
    const isLogin =
      ['WRONGPASS', 'NOAUTH'].includes(prefix) || (command === 'AUTH' && /\b(?:AUTH|password)\b/.test(words));
    if (isLogin && !isForbiddenReply(words)) return `refused the user or password (${words})`;
    return `refused ${command === 'SELECT' || command === 'ROLE' ? command : 'the connection'}: ${words}`;
  }
}
