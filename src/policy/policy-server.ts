/**
 * The Flash socket policy server: a player connects (to port 843 first), sends `<policy-file-request/>` and
 * a NUL, and gets the policy and a NUL. The connection ends there, whatever was asked.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { EXCHANGE_TIMEOUT, serveExchange } from './exchange.ts';
import { buildPolicyFile, explainUnreachableGrants, type PolicyOptions } from './policy-file.ts';
import { encodePolicyAnswer } from './policy-request.ts';

/** Where a policy server listens, and what it answers. */
export interface PolicyServerOptions extends PolicyOptions {
  /** Default 843, where players look for the master policy; 0 takes any free port. */
  port?: number;
  /** Address to listen on. Default: all of this machine's. */
  host?: string;
  /** Milliseconds from accept to the end of the connection, answered or not. Default 5_000. */
  timeout?: number;
  /** Connections at once; further ones are closed unheard. Default 1_000. */
  maxConnections?: number;
  /** Is told of grants that no player will believe. Default: `process.emitWarning`. */
  onWarning?: (message: string) => void;
}

/** Answers `<policy-file-request/>` on a port of its own, which for Flash is 843. */
export class PolicyServer {
  readonly #options: PolicyServerOptions;
  readonly #answer: Buffer;
  readonly #timeout: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  /** @throws {TypeError} if the policy makes no sense: see {@link buildPolicyFile} */
  constructor(options: PolicyServerOptions) {
    this.#options = options;
    this.#answer = encodePolicyAnswer(buildPolicyFile(options));
    this.#timeout = options.timeout ?? EXCHANGE_TIMEOUT;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#serve(socket));
    this.#server.maxConnections = options.maxConnections ?? 1_000;
  }

  /**
   * Resolves with the port once it listens.
   *
   * @throws {Error} with `code` EACCES, EADDRINUSE … and a message that says what to do about it
   */
  async listen(): Promise<number> {
    const { port = 843, host } = this.#options;
    try {
      this.#server.listen({ port, host });
      await once(this.#server, 'listening');
    } catch (error) {
      throw explainListenError(error as NodeJS.ErrnoException, port, host);
    }
    this.#server.on('error', () => {
      // Only failing accept() calls come here (no descriptors left): the next connection may succeed.
    });
    const actual = (this.#server.address() as AddressInfo).port;
    const problem = explainUnreachableGrants(this.#options, actual);
    if (problem !== undefined) (this.#options.onWarning ?? ((text) => process.emitWarning(text)))(problem);
    return actual;
  }

  /** The address in use, or null while it doesn't listen. */
  address(): AddressInfo | null {
    return this.#server.address() as AddressInfo | null;
  }

  /** Stops listening and cuts the connections that are left. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, 'close');
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    serveExchange(socket, this.#answer, this.#timeout);
  }
}

function explainListenError(error: NodeJS.ErrnoException, port: number, host: string | undefined): Error {
  const where = `${host ?? '*'}:${port}`;
  let message = `the policy server can't listen on ${where}: ${error.message}`;
  if (error.code === 'EACCES') {
    message =
      `the policy server may not listen on ${where}: ports below 1024 need a privilege. Grant it with one of\n` +
      `  sudo setcap cap_net_bind_service=+ep "$(readlink -f "$(command -v node)")"\n` +
      `  authbind --deep node …   (after: sudo touch /etc/authbind/byport/${port} && sudo chown "$USER" /etc/authbind/byport/${port} && sudo chmod 500 /etc/authbind/byport/${port})\n` +
      `  sudo iptables -t nat -A PREROUTING -p tcp --dport ${port} -j REDIRECT --to-ports ${port + 10_000}   (and give port ${port + 10_000} here)`;
  } else if (error.code === 'EADDRINUSE') {
    message =
      `the policy server can't listen on ${where}: another program does. Find it with ` +
      `\`ss -ltnp 'sport = :${port}'\`, end it, or choose another port and redirect ${port} to it`;
  }
  return Object.assign(new Error(message, { cause: error }), { code: error.code, port });
}
