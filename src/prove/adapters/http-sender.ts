/** Sends messages by HTTP: a POST whose body is the message. 2xx is what counts as accepted. */
import { Agent as HttpAgent, type IncomingMessage, request as requestPlain } from 'node:http';
import { Agent as HttpsAgent, request as requestSecure } from 'node:https';
import type { AdapterContext, Outgoing } from '../adapter.ts';
import { AdapterError, filled, RefusedError } from '../adapter.ts';

/** Connections to an instance at once. */
const SOCKETS = 64;
const MAX_ANSWER = 4096;

export class HttpSender {
  readonly #targets: string[];
  readonly #headers: Record<string, string>;
  readonly #agents = {
    'http:': new HttpAgent({ keepAlive: true, maxSockets: SOCKETS }),
    'https:': new HttpsAgent({ keepAlive: true, maxSockets: SOCKETS }),
  };
  #turn = 0;

  /**
   * @param path where messages go if `--send` says nothing: with `{user}` in it, relative to each instance
   * @throws {AdapterError}
   */
  constructor({ urls, send = '', token }: AdapterContext, path: string) {
    const template = send === '' ? path : send;
    if (!/\{user\}/.test(template)) throw new AdapterError(`--send '${template}' has no {user} in it`);
    const targets = urls.map((url) => resolved(template, url));
    this.#targets = [...new Set(targets)];
    this.#headers = {
      'content-type': 'application/json',
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    };
  }

  /** To the instances in turn. @throws {RefusedError} where the token is not the right one */
  async send({ user, text, key }: Outgoing, signal: AbortSignal): Promise<void> {
    const target = this.#targets[this.#turn++ % this.#targets.length]!;
    const url = new URL(filled(target, user));
    const isSecure = url.protocol === 'https:';
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = (isSecure ? requestSecure : requestPlain)(url, {
        method: 'POST',
        agent: this.#agents[isSecure ? 'https:' : 'http:'],
        headers: {
          ...this.#headers,
          'content-length': Buffer.byteLength(text),
          'idempotency-key': key,
        },
        signal,
      });
      request.on('response', resolve).on('error', reject).end(text);
    });
    const status = answer.statusCode!;
    let said = '';
    for await (const chunk of answer.setEncoding('utf8')) if (said.length < MAX_ANSWER) said += chunk;
    if (status >= 200 && status <= 299) return;
    const Refusal = status === 401 || status === 403 ? RefusedError : Error;
    throw new Refusal(`${status} ${said.slice(0, 200)}`.trimEnd());
  }

  close(): void {
    for (const agent of Object.values(this.#agents)) agent.destroy();
  }
}

function resolved(template: string, url: string): string {
  const base = new URL(url);
  base.protocol = /^(?:https|wss):$/.test(base.protocol) ? 'https:' : 'http:';
  if (!URL.canParse(template, base)) throw new AdapterError(`--send '${template}' is not a URL`);
  const target = new URL(template, base);
  if (!/^https?:$/.test(target.protocol))
    throw new AdapterError(`--send '${template}' is not an http(s) URL`);
  return target.href;
}
