/** Instances of `tidings serve --demo` as processes of their own, and the balancer in front of them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net';
import { until } from '../support/net.ts';
import { programFile } from '../support/program-file.ts';

export interface Instance {
  readonly name: string;
  readonly port: number;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
}

export async function startInstance(name: string, args: string[] = []): Promise<Instance> {
  const command = [
    programFile,
    'serve',
    '--demo',
    '--port',
    '0',
    '--policy-port',
    'off',
    '--instance',
    name,
    ...args,
  ];
  const child: ChildProcess = spawn(process.execPath, command, {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout!, child.stderr!])
    stream.on('data', (text) => {
      output += text;
    });
  const port = await until(
    `instance ${name} to listen`,
    () => {
      if (child.exitCode !== null) throw new Error(`instance ${name} has ended:\n${output}`);
      return Number(output.match(/listening on http:\/\/[^/]*:(\d+)\//)?.[1]);
    },
    60_000,
  );
  return {
    name,
    port,
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

/** Passes every connection on to the first of its instances that takes it. */
export class Balancer {
  readonly #server: Server;
  readonly #instances: Instance[];
  readonly #sockets = new Set<Socket>();

  private constructor(instances: Instance[]) {
    this.#instances = instances;
    this.#server = createServer((client) => {
      this.#keep(client);
      this.#pass(client, 0);
    });
  }

  static async start(...instances: Instance[]): Promise<Balancer> {
    const balancer = new Balancer(instances);
    balancer.#server.listen(0, '127.0.0.1');
    await once(balancer.#server, 'listening');
    return balancer;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #pass(client: Socket, index: number): void {
    const instance = this.#instances[index];
    if (instance === undefined || client.destroyed) {
      client.destroy();
      return;
    }
    const server = createConnection(instance.port, '127.0.0.1');
    const refused = () => this.#pass(client, index + 1);
    server.once('error', refused);
    this.#keep(server);
    server.once('connect', () => {
      server.off('error', refused);
      if (client.destroyed) server.destroy();
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        from.on('close', () => to.destroy());
        from.pipe(to);
      }
    });
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
  }
}
