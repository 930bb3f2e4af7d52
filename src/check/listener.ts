/**
 * The listening side of the conformance runner: clients fetch the number of cases, run one per connection by
 * echoing, and ask for the report, over the addresses that drivers for the Autobahn suite use.
 */
import { EventEmitter, once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { CaseDefinition } from './case.ts';
import { Endpoint } from './endpoint.ts';
import { acceptUpgrade, type Head, readHead, refusalOf } from './handshake.ts';
import { type CaseResult, type RunningCase, runAgainstClient } from './runner.ts';
import { WireLog } from './wire-log.ts';

export interface ListenerOptions {
  port: number;
  /** Default 127.0.0.1. */
  host?: string;
  cases: CaseDefinition[];
  /** Factor on all time limits. */
  patience: number;
  /** How many messages a compression case sends. Default 1000, as in the Autobahn suite. */
  messages?: number | undefined;
}

export interface ListenerEvents {
  start: [agent: string, running: RunningCase];
  result: [result: CaseResult];
  /** A client asked for the report with all results of its agent. */
  report: [agent: string, results: CaseResult[]];
}

/** A request that fits none of the addresses: answered with 400 and this text. */
class BadRequest extends Error {}

export class FuzzingServer extends EventEmitter<ListenerEvents> {
  readonly #server: Server;
  readonly #options: ListenerOptions;
  readonly #sockets = new Set<Socket>();
  /** By agent, then by case number. */
  readonly #results = new Map<string, Map<string, CaseResult>>();

  constructor(options: ListenerOptions) {
    super();
    this.#options = options;
    this.#server = createServer({ noDelay: true, pauseOnConnect: true }, (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      // A broken connection is told by 'close' as well.
      socket.on('error', () => {});
      void this.#serve(socket);
    });
  }

  async listen(): Promise<{ host: string; port: number }> {
    this.#server.listen(this.#options.port, this.#options.host ?? '127.0.0.1');
    await once(this.#server, 'listening');
    const { address, port } = this.#server.address() as AddressInfo;
    return { host: address, port };
  }

  async close(): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    if (this.#server.listening) await once(this.#server, 'close');
  }

  /** In the order of the cases. */
  resultsOf(agent: string): CaseResult[] {
    return [...(this.#results.get(agent)?.values() ?? [])].sort((a, b) => a.case - b.case);
  }

  async #serve(socket: Socket): Promise<void> {
    try {
      const head = await readHead(socket, 5000 * this.#options.patience);
      const refusal = refusalOf(head);
      if (refusal !== undefined) throw new BadRequest(refusal);
      const url = new URL(head.startLine.split(' ')[1] ?? '/', 'ws://localhost');
      await this.#route(socket, head, url);
    } catch (error) {
      if (error instanceof BadRequest) refuse(socket, error.message);
      else socket.destroy();
    }
  }

  async #route(socket: Socket, head: Head, url: URL): Promise<void> {
    switch (url.pathname) {
      case '/runCase':
        await this.#runCase(socket, head, url);
        break;
      case '/getCaseCount':
        this.#tell(socket, head, this.#options.cases.length);
        break;
      case '/getCaseInfo': {
        const { id, description } = this.#caseOf(url).definition;
        this.#tell(socket, head, { id, description });
        break;
      }
      case '/getCaseStatus': {
        const { behavior } = await this.#resultOf(agentOf(url), this.#caseOf(url).definition.id);
        this.#tell(socket, head, { behavior });
        break;
      }
      case '/updateReports': {
        const agent = agentOf(url);
        this.emit('report', agent, this.resultsOf(agent));
        this.#tell(socket, head, undefined);
        break;
      }
      default:
        throw new BadRequest(`no such address: ${url.pathname}`);
    }
  }

  async #runCase(socket: Socket, head: Head, url: URL): Promise<void> {
    const { definition, index } = this.#caseOf(url);
    const agent = agentOf(url);
    const { patience, messages } = this.#options;
    const result = await runAgainstClient(definition, socket, head, {
      ...{ agent, index, patience, messages },
      onStart: (running) => this.emit('start', agent, running),
    });
    const ofAgent = this.#results.get(agent) ?? new Map<string, CaseResult>();
    this.#results.set(agent, ofAgent);
    ofAgent.set(definition.id, result);
    this.emit('result', result);
  }

  #caseOf(url: URL): { definition: CaseDefinition; index: number } {
    const { cases } = this.#options;
    const id = url.searchParams.get('casetuple')?.trim();
    const index =
      id === undefined ? Number(url.searchParams.get('case')) : cases.findIndex((one) => one.id === id) + 1;
    const definition = cases[index - 1];
    if (!definition) throw new BadRequest(`no such case: ${url.search} (there are ${cases.length})`);
    return { definition, index };
  }

  async #resultOf(agent: string, id: string): Promise<CaseResult> {
    for (;;) {
      const result = this.#results.get(agent)?.get(id);
      if (result) return result;
      await once(this, 'result');
    }
  }

  /** Sends one value as JSON, or nothing, and closes. */
  #tell(socket: Socket, head: Head, value: unknown): void {
    acceptUpgrade(socket, head, undefined);
    const ignore = (): void => {};
    const listener = { onMessage: ignore, onPing: ignore, onPong: ignore, onLate: ignore, onLost: ignore };
    const { patience } = this.#options;
    const endpoint = new Endpoint(socket, listener, {
      role: 'server',
      deflate: undefined,
      patience,
      log: new WireLog(),
    });
    endpoint.start(head.rest);
    if (value !== undefined) endpoint.sendMessage(Buffer.from(JSON.stringify(value)), false);
    endpoint.sendClose(1000);
  }
}

function agentOf(url: URL): string {
  const agent = url.searchParams.get('agent');
  if (!agent) throw new BadRequest('the agent is missing: ?agent=NAME');
  return agent;
}

function refuse(socket: Socket, reason: string): void {
  const body = `${reason}\n`;
  socket.resume();
  socket.end(
    `HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
