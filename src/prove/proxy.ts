/** A TCP proxy that breaks connections on purpose: cuts, delays, and packets that vanish without a FIN. */
import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial, isIP, type Server, type Socket } from 'node:net';
import { connect as dialSecurely, TLSSocket } from 'node:tls';
import { Queue } from '../queue.ts';

/** A port of the loopback, of which the kernel keeps megabytes, or the path of a Unix socket, of which it keeps 200 kB. */
export type Local = number | string;

export type Target = Local | Remote;

/** A server of HTTP anywhere. Whoever connects speaks plain HTTP/1.1; the server gets TLS where it has it, and its own name. */
export interface Remote {
  url: URL;
}

interface Link {
  client: Socket;
  /** From when it is dialed. */
  upstream: Socket | undefined;
  /** Whether more is taken from upstream. */
  tap: Tap | undefined;
  /** Packets vanish in both directions, and neither side hears of the other's end. */
  isFrozen: boolean;
  /** Bytes a second that come through from upstream. */
  rate: number;
  /** Half of the next bytes from upstream come through, and then it is cut. */
  isToBreak: boolean;
  /** The name of the server, which the first request has to say. */
  host: string | undefined;
  /** What the client has said that `label` recognized. */
  label: string | undefined;
}

export interface Choice {
  /** The part of the connections that it happens to, 0 … 1. Default 1. */
  share?: number;
  /** Only those with this label. */
  label?: string;
  /** Only those that are frozen already. */
  isFrozen?: true;
}

/** Lets a socket go on as soon as nobody holds it any more. */
class Tap {
  readonly #socket: Socket;
  #holds = 0;
  #whenFree: (() => void) | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  hold(): void {
    if (this.#holds++ === 0) this.#socket.pause();
  }

  /** Once for each time that it was held. */
  release(): void {
    if (--this.#holds > 0) return;
    this.#socket.resume();
    this.#whenFree?.();
    this.#whenFree = undefined;
  }

  /** For the end of the socket, which it tells even while it is paused. */
  whenFree(then: () => void): void {
    if (this.#holds === 0) then();
    else this.#whenFree = then;
  }
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
  /** Milliseconds that connecting to a target may take, TLS included. */
  patience = 10_000;
  /** Names a connection by what its client says. */
  label: (chunk: Buffer) => string | undefined = () => undefined;
  /** Sees what comes from upstream. */
  watch: ((chunk: Buffer) => void) | undefined;
  /** The moments of arrivals since the start, by `performance.now()`. */
  readonly arrivals: number[] = [];
  /** Why no target could be reached the last time; undefined when one was. */
  refusal: string | undefined;
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

  /** Cuts where half of what comes next from upstream has come through. Returns how many. */
  breakNext(choice: Choice = {}): number {
    const links = this.#choose(choice);
    for (const link of links) link.isToBreak = true;
    return links.length;
  }

  /** Takes nothing more from upstream, as a page that does not read. Returns what lets it go on. */
  stall(choice: Choice = {}): () => void {
    const taps = this.#choose(choice).flatMap(({ tap }) => tap ?? []);
    for (const tap of taps) tap.hold();
    return () => {
      for (const tap of taps) tap.release();
    };
  }

  /** From here on so many bytes a second come through from upstream, as over a thin line. Returns how many. */
  throttle(rate: number, choice: Choice = {}): number {
    const links = this.#choose(choice);
    for (const link of links) link.rate = rate;
    return links.length;
  }

  async close(): Promise<void> {
    this.#server.close();
    for (const link of this.#links) this.#end(link);
  }

  #choose({ share = 1, label, isFrozen }: Choice): Link[] {
    const links = [...this.#links].filter(
      (link) => (label === undefined || link.label === label) && (!isFrozen || link.isFrozen),
    );
    return links.slice(0, Math.ceil(links.length * share));
  }

  #accept(client: Socket): void {
    this.arrivals.push(performance.now());
    const link: Link = {
      client,
      upstream: undefined,
      tap: undefined,
      isFrozen: this.swallows,
      rate: this.rate,
      isToBreak: false,
      host: undefined,
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
    const [target] = targets.splice(this.#turn++ % targets.length, 1) as [Target];
    const upstream = reach(target);
    link.upstream = upstream;
    link.tap = new Tap(upstream);
    const late = setTimeout(
      () => upstream.destroy(new Error(`no connection within ${this.patience} ms`)),
      this.patience,
    );
    upstream.once('close', () => clearTimeout(late));
    link.host = typeof target === 'object' ? target.url.host : undefined;
    const onRefusal = ({ message }: Error): void => {
      link.upstream = undefined;
      link.tap = undefined;
      this.refusal = message;
      if (!link.client.destroyed) this.#dial(link, targets);
    };
    upstream.once('error', onRefusal);
    upstream.once(isSecure(target) ? 'secureConnect' : 'connect', () => {
      upstream.off('error', onRefusal);
      clearTimeout(late);
      this.refusal = undefined;
      upstream.on('error', () => {});
      // In good order, what it has said still has to come through.
      upstream.on('close', (hasFailed) => {
        if (hasFailed || link.client.destroyed) this.#ended(link);
      });
      link.client.setNoDelay(true);
      if (link.client.destroyed) {
        upstream.destroy();
        return;
      }
      this.#pipe(link, link.client, upstream, new Tap(link.client));
      this.#pipe(link, upstream, link.client, link.tap!);
    });
  }

  #pipe(link: Link, from: Socket, to: Socket, tap: Tap): void {
    // What is late waits in one queue: timers of different lengths may overtake one another.
    const late: Queue<{ due: number; pass: () => void }> = new Queue();
    const passDue = (): void => {
      while (late.first !== undefined && late.first.due <= performance.now()) late.take()!.pass();
      if (late.first !== undefined) setTimeout(passDue, late.first.due - performance.now());
    };
    const inTime = (pass: () => void): void => {
      if (this.delay === 0 && late.length === 0) {
        pass();
        return;
      }
      late.add({ due: performance.now() + this.delay, pass });
      if (late.length === 1) setTimeout(passDue, this.delay);
    };
    const write = (chunk: Buffer): void => {
      if (link.isFrozen || to.destroyed) return;
      const wasFull = to.writableNeedDrain;
      if (to.write(chunk) || wasFull) return;
      tap.hold();
      to.once('drain', () => tap.release());
    };
    from.on('data', (data: Buffer) => {
      if (link.isFrozen) return;
      let chunk = data;
      if (from === link.client) {
        link.label ??= this.label(chunk);
        if (link.host !== undefined) chunk = withHost(chunk, link.host);
        link.host = undefined;
        inTime(() => write(chunk));
        return;
      }
      this.watch?.(chunk);
      if (link.isToBreak) {
        tap.hold();
        inTime(() => {
          if (!link.isFrozen) to.write(chunk.subarray(0, chunk.length >> 1), () => this.#end(link));
        });
      } else if (Number.isFinite(link.rate)) {
        tap.hold();
        inTime(() => trickle(chunk, link, to, write, () => tap.release()));
      } else inTime(() => write(chunk));
    });
    const end = (): void => {
      if (!link.isFrozen) to.end();
    };
    from.on('end', () => tap.whenFree(() => inTime(end)));
  }

  #ended(link: Link): void {
    if (link.isFrozen && !(link.client.destroyed && (link.upstream?.destroyed ?? true))) return;
    this.#end(link);
  }

  #end(link: Link): void {
    this.#links.delete(link);
    for (const socket of [link.client, link.upstream]) {
      if (socket === undefined || socket.destroyed) continue;
      // A Unix socket knows no reset, and TLS has it below itself. One that is ending already Node may never close after a reset.
      const knowsReset = socket.remoteAddress !== undefined && !(socket instanceof TLSSocket);
      if (knowsReset && !socket.writableEnded) socket.resetAndDestroy();
      else socket.destroy();
    }
  }
}

export function isSecure(target: Target): boolean {
  return typeof target === 'object' && /^(?:https|wss):$/.test(target.url.protocol);
}

/** A connection to it, under way. */
export function reach(target: Target): Socket {
  if (typeof target === 'string') return dial(target);
  if (typeof target === 'number') return dial({ port: target, host: '127.0.0.1', noDelay: true });
  const { hostname, port } = target.url;
  const host = hostname.replace(/^\[|\]$/g, '');
  if (!isSecure(target)) return dial({ port: Number(port) || 80, host, noDelay: true });
  const name = isIP(host) === 0 ? { servername: host } : {};
  return dialSecurely({ port: Number(port) || 443, host, ALPNProtocols: ['http/1.1'], ...name }).setNoDelay(
    true,
  );
}

/** The first request of a connection, as if it had been made to that host. */
function withHost(chunk: Buffer, host: string): Buffer {
  const text = chunk.toString('latin1');
  return Buffer.from(text.replace(/\r\nhost:[^\r]*/i, `\r\nHost: ${host}`), 'latin1');
}

/** Passes a chunk on a tenth of a second's worth at a time, by the rate of the moment. */
function trickle(
  chunk: Buffer,
  link: Link,
  to: Socket,
  write: (part: Buffer) => void,
  done: () => void,
): void {
  let at = 0;
  const pass = (): void => {
    if (link.isFrozen || to.destroyed) return;
    const size = Math.max(1, Math.floor(link.rate / 10));
    write(chunk.subarray(at, at + size));
    at += size;
    if (at < chunk.length) setTimeout(pass, 100);
    else setTimeout(done, (100 * (chunk.length % size)) / size);
  };
  pass();
}
