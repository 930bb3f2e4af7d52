/** A client that comes back, with all the options and events that clients have. */
import { EventEmitter, once } from 'node:events';
import { Agent } from 'node:https';
import { connect } from 'node:net';
import WebSocket, { type ClientOptions, type RawData } from 'tidings/ws';

export class ReconnectingClient extends EventEmitter {
  private ws: WebSocket | null = null;
  private readonly waiting: WebSocket.Data[] = [];
  private tries = 0;

  constructor(
    private readonly url: string | URL,
    private readonly token: string,
  ) {
    super();
    this.connect();
  }

  private connect(): void {
    const options: ClientOptions = {
      headers: { Authorization: `Bearer ${this.token}` },
      handshakeTimeout: 5000,
      perMessageDeflate: { threshold: 512, zlibDeflateOptions: { level: 3 }, clientNoContextTakeover: true },
      agent: new Agent({ keepAlive: true }),
      followRedirects: true,
      maxRedirects: 3,
      maxPayload: 1 << 20,
      origin: 'https://example.com',
      protocolVersion: 13,
      rejectUnauthorized: false,
      ca: Buffer.alloc(0),
      skipUTF8Validation: false,
      autoPong: true,
      allowSynchronousEvents: true,
      generateMask: (mask) => mask.fill(0),
      finishRequest: (request, websocket) => {
        request.setHeader('X-State', websocket.readyState);
        request.end();
      },
    };
    options.headers!['X-Tries'] = String(this.tries);
    const ws = new WebSocket(this.url, ['v2', 'v1'], options);
    this.ws = ws;
    ws.once('open', () => {
      this.tries = 0;
      console.log(ws.protocol.length, ws.extensions.length, ws.url.length);
      for (const data of this.waiting.splice(0)) ws.send(data as string);
    });
    ws.on('message', (data: RawData, isBinary: boolean) => this.received(data, isBinary));
    ws.on('upgrade', (response) => console.log(response.headers['set-cookie']));
    ws.on('redirect', (url, request) => {
      if (!url.startsWith('wss:')) request.removeHeader('Authorization');
    });
    ws.on('unexpected-response', (request, response) => {
      console.error(`refused with ${response.statusCode}`);
      request.destroy();
    });
    ws.on('ping', (data: Buffer) => ws.pong(data));
    ws.addListener('error', (error: Error) => this.emit('problem', error));
    ws.once('close', (code: number, reason: Buffer) => {
      this.ws = null;
      this.emit('left', code, reason.toString());
      setTimeout(() => this.connect(), Math.min(30_000, 500 * 2 ** this.tries++));
    });
  }

  private received(data: RawData, isBinary: boolean): void {
    let bytes: Buffer;
    if (Array.isArray(data)) bytes = Buffer.concat(data);
    else if (data instanceof ArrayBuffer) bytes = Buffer.from(data);
    else bytes = data;
    this.emit('data', isBinary ? bytes : bytes.toString('utf8'));
  }

  send(data: WebSocket.Data): void {
    if (this.ws?.readyState !== WebSocket.OPEN) this.waiting.push(data);
    else this.ws.send(data, { binary: typeof data !== 'string', compress: true, fin: true, mask: true });
  }

  async close(): Promise<void> {
    const { ws } = this;
    if (ws === null || ws.readyState === ws.CLOSED || ws.readyState === ws.CLOSING) return;
    ws.removeAllListeners('close');
    ws.close(1000, 'done');
    await once(ws, 'close');
  }
}

const ws = new WebSocket('ws://localhost', { localAddress: '127.0.0.1', family: 4, host: 'localhost' });
new WebSocket('ws+unix:///run/x.sock', undefined, {
  createConnection: () => connect('/run/x.sock'),
  checkServerIdentity: (servername, cert) => servername === String(cert),
});
ws.off('message', console.log).removeListener('open', () => {});
ws.on('a name of their own', (anything) => anything.whatever());
ws.on('message', (text: string) => console.log(JSON.parse(text)));
ws.ping(null, false, (err: Error) => console.error(err));
ws.pong(Date.now(), undefined, (err) => console.error(err));
ws.ping('', true);
ws.pause();
ws.resume();
console.log(ws.isPaused === true, ws.bufferedAmount * 2, ws.binaryType.length);
ws.binaryType = 'arraybuffer';
ws.binaryType = 'fragments';

// @ts-expect-error there is no such type
ws.binaryType = 'string';
// @ts-expect-error nothing to send
ws.send();
// @ts-expect-error it is for reading
ws.readyState = 1;
// @ts-expect-error codes are numbers
ws.close('1000');
// @ts-expect-error no address
new WebSocket();
// @ts-expect-error not a list of subprotocols
new WebSocket('ws://localhost', [1]);
// @ts-expect-error not milliseconds
new WebSocket('ws://localhost', { handshakeTimeout: '5 s' });
