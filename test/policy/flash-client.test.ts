/**
 * A client that does on sockets what the Flash WebSocket shim (web-socket-js) and the player below it do: the
 * policy from 843 within three seconds, else from the destination port; then the handshake, and frames.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { PushServer, type PushServerOptions, queryUser } from '../../src/push/index.ts';
import { closeFrame, type Frame, frame as masked } from '../server/support.ts';
import { freePort, until } from '../support/net.ts';

/** What the player gives the master policy's port before it asks elsewhere, in milliseconds. */
const MASTER_LIMIT = 3_000;
/** For whoever will answer, on a busy machine as well. */
const PATIENCE = 60_000;

/** Resolves with the policy file; undefined where there is none within `limit` milliseconds. */
async function policyFrom(port: number, limit: number): Promise<string | undefined> {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.setEncoding('utf8').on('data', (data) => {
    text += data;
  });
  socket.on('connect', () => socket.write('<policy-file-request/>\0'));
  socket.on('error', () => {});
  socket.setTimeout(limit, () => socket.destroy());
  await new Promise((resolve) => socket.once('close', resolve));
  return text.startsWith('<?xml') && text.endsWith('\0') ? text.slice(0, -1) : undefined;
}

/** As the player judges it: by domain and port, and ports below 1024 only from a port below 1024. */
function grants(policy: string, servedFrom: number, domain: string, port: number): boolean {
  if (port < 1024 && servedFrom >= 1024) return false;
  return [...policy.matchAll(/<allow-access-from\s([^>]*)\/>/g)].some(([, attributes = '']) => {
    const { domain: allowed = '', 'to-ports': ports = '' } = Object.fromEntries(
      [...attributes.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, name, value]) => [name, value]),
    );
    const isDomain =
      allowed === '*' ||
      allowed === domain ||
      (allowed.startsWith('*.') && (domain === allowed.slice(2) || domain.endsWith(allowed.slice(1))));
    const isPort = ports.split(',').some((range) => {
      const [low, high = low] = range.split('-').map(Number);
      return ports === '*' || (port >= low! && port <= high!);
    });
    return isDomain && isPort;
  });
}

class FlashClient {
  readonly socket: Socket;
  received: Buffer = Buffer.alloc(0);
  isOpen = false;
  isEnded = false;
  pings = 0;
  readonly #frames: Frame[] = [];

  private constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.on('data', (chunk) => {
      this.received = Buffer.concat([this.received, chunk]);
      if (this.isOpen) this.#readFrames();
    });
    this.socket.on('close', () => {
      this.isEnded = true;
    });
    this.socket.on('error', () => {});
  }

  /** @throws where the player would: a SecurityErrorEvent, or the shim's fatal error */
  static async open(t: TestContext, master: number, port: number, domain: string, limit = PATIENCE) {
    let [policy, servedFrom] = [await policyFrom(master, limit), master];
    if (policy === undefined) [policy, servedFrom] = [await policyFrom(port, PATIENCE), port];
    if (policy === undefined || !grants(policy, servedFrom, domain, port)) throw new Error('Error #2048');
    const client = new FlashClient(port);
    t.after(() => client.socket.destroy());
    await client.#handshake(port, PATH, domain);
    return { client, servedFrom };
  }

  async #handshake(port: number, path: string, domain: string): Promise<void> {
    const key = randomBytes(16).toString('base64');
    // In this order and with these headers, no extension among them.
    this.socket.write(
      `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        `Sec-WebSocket-Key: ${key}\r\nOrigin: http://${domain}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    );
    const end = await until('the answer', () => this.received.indexOf('\r\n\r\n') + 1, 30_000);
    const [status = '', ...lines] = this.received.toString('latin1', 0, end - 1).split('\r\n');
    this.received = this.received.subarray(end + 3);
    if (!/^HTTP\/1\.1 101 /.test(status)) throw new Error(status);
    const headers = new Map(
      lines.map((line) => [line.split(': ')[0]!.toLowerCase(), line.slice(line.indexOf(': ') + 2)]),
    );
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    assert.equal(headers.get('upgrade')?.toLowerCase(), 'websocket');
    assert.equal(headers.get('connection'), 'Upgrade');
    assert.equal(headers.get('sec-websocket-accept'), accept);
    assert.equal(headers.get('sec-websocket-extensions'), undefined);
    this.isOpen = true;
    this.#readFrames();
  }

  /** Pings are answered at once, as the shim does. */
  #readFrames(): void {
    for (let frame = parse(this.received); frame !== undefined; frame = parse(this.received)) {
      const { opcode, payload, length } = frame;
      this.received = this.received.subarray(length);
      if (opcode === 9) {
        this.pings++;
        this.socket.write(masked(10, payload));
      } else {
        this.#frames.push({ opcode, payload, fin: true, rsv1: false });
      }
    }
  }

  send(text: string): void {
    this.socket.write(masked(1, text));
  }

  /** The next frame that is not a ping. */
  next(): Promise<Frame> {
    return until('a frame', () => this.#frames.shift());
  }
}

function parse(bytes: Buffer) {
  if (bytes.length < 2) return undefined;
  // The shim knows no fragments and no extensions: every frame is whole, its reserved bits are clear.
  assert.equal(bytes[0]! & 0xf0, 0x80);
  const size = bytes[1]! & 0x7f;
  if (size === 126 && bytes.length < 4) return undefined;
  const [at, payload] = size === 126 ? [4, bytes.readUInt16BE(2)] : [2, size];
  if (bytes.length < at + payload) return undefined;
  return { opcode: bytes[0]! & 15, payload: bytes.subarray(at, at + payload), length: at + payload };
}

const DOMAIN = 'app.example.com';

async function start(
  t: TestContext,
  kind: 'an http.Server' | 'a port of its own',
  { master, ...options }: PushServerOptions & { master: number },
) {
  const http = kind === 'an http.Server' ? createHttpServer() : undefined;
  const port = await freePort();
  http?.listen(port, '127.0.0.1');
  if (http !== undefined) await once(http, 'listening');
  const push = new PushServer({
    ...(http === undefined ? { port, host: '127.0.0.1' } : { server: http }),
    interceptors: [queryUser('operator')],
    origins: [`http://${DOMAIN}`],
    policy: { port: master, host: '127.0.0.1', allow: [{ domain: '*.example.com', ports: port }] },
    log: () => {},
    ...options,
  });
  t.after(async () => {
    await push.close();
    http?.close();
    http?.closeAllConnections();
  });
  await push.ready;
  return { push, port };
}

const PATH = '/socketServer?operator=alice';

for (const kind of ['an http.Server', 'a port of its own'] as const) {
  test(`${kind}: through the master policy, messages both ways, pings, Close answered by Close`, async (t) => {
    const master = await freePort();
    const closes: number[] = [];
    const { push, port } = await start(t, kind, {
      master,
      heartbeat: { ping: 100 },
      handler: { closed: (_, code) => void closes.push(code) },
    });
    const { client, servedFrom } = await FlashClient.open(t, master, port, DOMAIN);
    assert.equal(servedFrom, master);
    await push.send('alice', { text: 'ü😀 </script>' });
    const message = await client.next();
    assert.deepEqual([message.opcode, message.payload.toString()], [1, '{"text":"ü😀 </script>"}']);
    client.send('ping');
    assert.equal((await client.next()).payload.toString(), 'hb_ok');
    await push.send('alice', 'x'.repeat(5000));
    assert.equal((await client.next()).payload.length, 5000);
    await until('a ping', () => client.pings > 0);

    client.socket.write(closeFrame(1000));
    const close = await client.next();
    assert.deepEqual([close.opcode, close.payload.readUInt16BE(0)], [8, 1000]);
    await until('the end, on both sides', () => client.isEnded && closes.length > 0);
    assert.deepEqual(closes, [1000]);
  });

  test(`${kind}: with nobody on 843 the destination port answers`, async (t) => {
    const { push, port } = await start(t, kind, { master: await freePort() });
    const { client, servedFrom } = await FlashClient.open(t, await freePort(), port, DOMAIN);
    assert.equal(servedFrom, port);
    await push.send('alice', 'hello');
    assert.equal((await client.next()).payload.toString(), 'hello');
  });

  test(`${kind}: with a silent 843 the destination port answers after its three seconds`, async (t) => {
    const silent = createServer().listen(0, '127.0.0.1');
    const sockets: Socket[] = [];
    silent.on('connection', (socket) => sockets.push(socket));
    await once(silent, 'listening');
    t.after(() => {
      silent.close();
      for (const socket of sockets) socket.destroy();
    });
    const { port } = await start(t, kind, { master: await freePort() });
    const master = (silent.address() as AddressInfo).port;
    const { servedFrom } = await FlashClient.open(t, master, port, DOMAIN, MASTER_LIMIT);
    assert.equal(servedFrom, port);
  });

  test(`${kind}: a page of a domain that is not granted does not get as far as the handshake`, async (t) => {
    const master = await freePort();
    const { port } = await start(t, kind, { master });
    for (const domain of ['evil.example.org', 'badexample.com']) {
      await assert.rejects(FlashClient.open(t, master, port, domain), /Error #2048/);
    }
  });

  test(`${kind}: a close by the server ends the connection once the shim has answered`, async (t) => {
    const master = await freePort();
    const { push, port } = await start(t, kind, { master });
    const { client } = await FlashClient.open(t, master, port, DOMAIN);
    for (const session of push.localSessions()) session.close(4509, 'replaced');
    const close = await client.next();
    assert.deepEqual([close.opcode, close.payload.readUInt16BE(0)], [8, 4509]);
    client.socket.write(closeFrame(4509));
    await until('the end', () => client.isEnded, 30_000);
  });
}
