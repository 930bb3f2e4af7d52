/** A TCP proxy that breaks connections on purpose: cuts, delays, and packets that vanish without a FIN. */
import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from 'node:net';

/** A port of the loopback, of which the kernel keeps megabytes, or the path of a Unix socket, of which it keeps 200 kB. */
export type Target = number | string;

interface Link {
  client: Socket;
  upstream: Socket | undefined;
  /** Packets vanish in both directions, and neither side hears of the other's end. */
  isFrozen: boolean;
  /** Nothing is taken from upstream. */
  isHeld: boolean;
  /** Bytes a second that come through from upstream. */
  rate: number;
  /** What the client has said that `label` recognized. */
  label: string | undefined;
}

export interface Choice {
  /** The part of the connections that it happens to, 0 … 1. Default 1. */
  share?: number;
  /** Only those with this label. */
  label?: string;
}

export class TcpProxy {
  /** Milliseconds by which every chunk is late. */
  delay = 0;
  /** New connections are reset. */
  refuses = false;
  /** New connections are accepted, and then nothing comes through. */
  swallows = false;
  /** Bytes a second that come through from upstream on new connections. */
  rate = Number.POSITIVE_INFINITY;
  /** Names a connection by what its client says. */
  label: (chunk: Buffer) => string | undefined = () => undefined;
  /** Sees what comes from upstream. */
  watch: ((chunk: Buffer) => void) | undefined;
  /** The moments of arrivals since the start, by `performance.now()`. */
  readonly arrivals: number[] = [];
  readonly #targets: () => Target[];
  readonly #server: Server;
  readonly #links = new Set<Link>();
  #turn = 0;

  private constructor(targets: () => Target[]) {
    this.#targets = targets;
    this.#server = createServer((client) => this.#accept(client));
  }

  /** Spreads connections over the targets in turn; one that refuses is skipped, as a balancer would. */
  static async start(targets: () => Target[]): Promise<TcpProxy> {
    const proxy = new TcpProxy(targets);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get size(): number {
    return this.#links.size;
  }

  /** Resets connections on both sides. Returns how many. */
  cut(choice: Choice = {}): number {
    const links = this.#choose(choice);
    for (const link of links) this.#end(link);
    return links.length;
  }

  /** From here on their packets vanish; they never come to life again. Returns how many. */
  freeze(choice: Choice = {}): number {
    const links = this.#choose(choice);
    for (const link of links) {
      link.isFrozen = true;
      // What the sides send is taken and thrown away, as a network would.
      link.client.resume();
      link.upstream?.resume();
    }
    return links.length;
  }

  /** Takes nothing more from upstream, as a page that does not read. Returns what lets it go on. */
  stall(choice: Choice = {}): () => void {
    const links = this.#choose(choice);
    for (const link of links) this.#hold(link, true);
    return () => {
      for (const link of links) this.#hold(link, false);
    };
  }

  /** From here on so many bytes a second come through from upstream, as over a thin line. Returns how many. */
  throttle(rate: number, choice: Choice = {}): number {
    const links = this.#choose(choice);
    for (const link of links) link.rate = rate;
    return links.length;
  }

  #hold(link: Link, isHeld: boolean): void {
    link.isHeld = isHeld;
    if (isHeld) link.upstream?.pause();
    else link.upstream?.resume();
  }

  async close(): Promise<void> {
    this.#server.close();
    for (const link of this.#links) this.#end(link);
  }

  #choose({ share = 1, label }: Choice): Link[] {
    const links = [...this.#links].filter((link) => label === undefined || link.label === label);
    return links.slice(0, Math.ceil(links.length * share));
  }

  #accept(client: Socket): void {
    this.arrivals.push(performance.now());
    const link: Link = {
      client,
      upstream: undefined,
      isFrozen: this.swallows,
      isHeld: false,
      rate: this.rate,
      label: undefined,
    };
    client.on('error', () => {});
    if (this.refuses) {
      client.resetAndDestroy();
      return;
    }
    this.#links.add(link);
    client.on('close', () => this.#ended(link));
    if (this.swallows) client.resume();
    else this.#dial(link, [...this.#targets()]);
  }

  #dial(link: Link, targets: Target[]): void {
    if (targets.length === 0) {
      this.#end(link);
      return;
    }
    const [target] = targets.splice(this.#turn++ % targets.length, 1);
    const upstream =
      typeof target === 'string' ? dial(target) : dial({ port: target!, host: '127.0.0.1', noDelay: true });
    const onRefusal = (): void => {
      if (!link.client.destroyed) this.#dial(link, targets);
    };
    upstream.once('error', onRefusal);
    upstream.once('connect', () => {
      upstream.off('error', onRefusal);
      upstream.on('error', () => {});
      // In good order, what it has said still has to come through.
      upstream.on('close', (hasFailed) => {
        if (hasFailed || link.client.destroyed) this.#ended(link);
      });
      link.upstream = upstream;
      link.client.setNoDelay(true);
      if (link.client.destroyed) {
        upstream.destroy();
        return;
      }
      this.#pipe(link, link.client, upstream);
      this.#pipe(link, upstream, link.client);
    });
  }

  #pipe(link: Link, from: Socket, to: Socket): void {
    // What is late waits in one queue: timers of different lengths may overtake one another.
    const late: { due: number; pass: () => void }[] = [];
    const passDue = (): void => {
      while (late.length > 0 && late[0]!.due <= performance.now()) late.shift()!.pass();
      if (late.length > 0) setTimeout(passDue, late[0]!.due - performance.now());
    };
    const inTime = (pass: () => void): void => {
      if (this.delay === 0 && late.length === 0) pass();
      else if (late.push({ due: performance.now() + this.delay, pass }) === 1)
        setTimeout(passDue, this.delay);
    };
    from.on('data', (chunk) => {
      if (from === link.client) link.label ??= this.label(chunk);
      else this.watch?.(chunk);
      if (from === link.upstream && Number.isFinite(link.rate)) {
        trickle(chunk, link, from, to);
        return;
      }
      inTime(() => {
        if (link.isFrozen || to.destroyed) return;
        if (!to.write(chunk)) {
          from.pause();
          to.once('drain', () => {
            if (from === link.client || !link.isHeld) from.resume();
          });
        }
      });
    });
    from.on('end', () =>
      inTime(() => {
        if (!link.isFrozen) to.end();
      }),
    );
  }

  #ended(link: Link): void {
    if (link.isFrozen && !(link.client.destroyed && (link.upstream?.destroyed ?? true))) return;
    this.#end(link);
  }

  #end(link: Link): void {
    this.#links.delete(link);
    for (const socket of [link.client, link.upstream]) {
      if (socket === undefined || socket.destroyed) continue;
      // A Unix socket knows no reset.
      if (socket.remoteAddress === undefined) socket.destroy();
      else socket.resetAndDestroy();
    }
  }
}

/** Passes a chunk on a tenth of a second's worth at a time, and takes no more meanwhile. */
function trickle(chunk: Buffer, link: Link, from: Socket, to: Socket): void {
  from.pause();
  const size = Math.max(1, Math.floor(link.rate / 10));
  let at = 0;
  const pass = (): void => {
    if (link.isFrozen || to.destroyed) return;
    to.write(chunk.subarray(at, at + size));
    at += size;
    if (at < chunk.length) setTimeout(pass, 100);
    else if (!link.isHeld) setTimeout(() => from.resume(), (100 * (chunk.length % size)) / size);
  };
  pass();
}
