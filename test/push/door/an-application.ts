/** An application that is asked who a page is: it remembers what it was asked, and answers as the test says. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

export type Answering = (request: IncomingMessage, response: ServerResponse) => void;

export class AnApplication {
  readonly asked: IncomingMessage[] = [];
  answering: Answering;
  #server: Server;
  #port = 0;
  readonly #listen: object;

  constructor(answering: Answering, listen: object = { host: '127.0.0.1' }) {
    this.answering = answering;
    this.#listen = listen;
    this.#server = this.#create();
  }

  static async start(t: TestContext, answering: Answering, listen?: object): Promise<AnApplication> {
    const application = new AnApplication(answering, listen);
    await application.start();
    t.after(() => application.stop());
    return application;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/who`;
  }

  get port(): number {
    return this.#port;
  }

  /** Where it was before. */
  async start(): Promise<void> {
    this.#server = this.#create();
    this.#server.listen('path' in this.#listen ? this.#listen : { port: this.#port, ...this.#listen });
    await once(this.#server, 'listening');
    const address = this.#server.address() as AddressInfo | string;
    if (typeof address !== 'string') this.#port = address.port;
  }

  /** As a killed process: whoever is connected is cut off. */
  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  #create(): Server {
    return createServer((request, response) => {
      this.asked.push(request);
      this.answering(request, response);
    });
  }
}

/** Answers with this, as JSON. */
export function saying(said: unknown): Answering {
  return (_request, response) => say(response, said);
}

export function say(response: ServerResponse, said: unknown): void {
  response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(said));
}

export function cookieOf(request: IncomingMessage, name: string): string | undefined {
  return new RegExp(`(?:^|; )${name}=([^;]*)`).exec(request.headers.cookie ?? '')?.[1];
}

/** The user is what the cookie `user` says; without one, nobody is signed in. */
export const byCookie: Answering = (request, response) => {
  const user = cookieOf(request, 'user');
  if (user === undefined) response.writeHead(401).end('no');
  else say(response, { user });
};
