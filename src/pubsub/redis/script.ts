/** A Lua script, known to the server by its digest. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** A Lua script, sent by its digest (EVALSHA), and whole where the server does not know it. */
export class Script {
  /** The script itself. */
  readonly source: string;
  /** SHA-1 in hexadecimal, as EVALSHA wants it. */
  readonly digest: string;

  constructor(source: string) {
    this.source = source;
    this.digest = createHash('sha1').update(source).digest('hex');
  }

  /**
   * Reads a script from files.
   *
   * @param urls of `.lua` files beside a module, joined: `new URL('lua/publish.lua', import.meta.url)`
   */
  static load(...urls: URL[]): Script {
    return new Script(urls.map((url) => readFileSync(url, 'utf8')).join('\n'));
  }
}
