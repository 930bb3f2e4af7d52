/** The reply to a script: to EVALSHA, or to the EVAL that follows where the server does not know it. */
import { type RedisError, RedisReplyError } from './errors.ts';
import { PromisedReply } from './reply-handlers.ts';
import type { RespCommands } from './resp-commands.ts';
import type { RespArgument } from './resp-encoder.ts';
import type { Script } from './script.ts';

export class ScriptReply extends PromisedReply {
  readonly #commands: RespCommands;
  readonly #script: Script;
  readonly #args: RespArgument[];
  #isRepetition = false;

  constructor(
    commands: RespCommands,
    script: Script,
    keys: readonly string[],
    args: readonly RespArgument[],
    returnBuffers: boolean,
  ) {
    super('EVALSHA', returnBuffers);
    this.#commands = commands;
    this.#script = script;
    this.#args = ['EVALSHA', script.digest, keys.length, ...keys, ...args];
    commands.send(this, this.#args);
  }

  override failed(error: RedisError): void {
    if (!this.#isRepetition && error instanceof RedisReplyError && error.prefix === 'NOSCRIPT') {
      // EVAL runs it and makes its digest known again, in one round trip.
      this.#isRepetition = true;
      this.#args[0] = 'EVAL';
      this.#args[1] = this.#script.source;
      this.#commands.sendAgain(this, this.#args);
    } else {
      this.reject(error);
    }
  }
}
