/**
 * A page of the load generator: a raw socket that opens, says hello as the real client of its wire does, and checks
 * that messages come in order, each once, and nothing else. It is far cheaper than a client: the server is measured.
 */
import { createHash, randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { clientFrame } from '../load/content.ts';
import type { PageJob } from './job.ts';

/** Milliseconds between acknowledgements, as the client of tidings has it. */
const ACK_DELAY = 200;
/** One read buffer for all pages. */
const readBuffer = Buffer.allocUnsafeSlow(256 * 1024);
const CLOSE_FRAME = clientFrame(8, Buffer.from([0x03, 0xe8]));
const MESSAGE = '{"type":"message"';

type Kind = Pick<PageJob, 'port' | 'path' | 'wire' | 'isQuiet'>;

export class Page {
  readonly user: string;
  /** The number of the last message that came. */
  last = 0;
  /** Called with the moment at which the message was sent. */
  onMessage: (sentAt: number) => void = () => {};
  /** Messages come from here on. */
  onOpen: () => void = () => {};
  onClose: () => void = () => {};
  onError: (error: Error) => void = () => {};

  readonly #kind: Kind;
  readonly #topics: string[];
  #socket!: Socket;
  #accept = '';
  #isUpgraded = false;
  #isLeaving = false;
  /** The head, and then a frame that a read has cut. */
  #rest: Buffer | undefined;
  /** tidings.1: the last message, whose position is acknowledged, or where the inbox began. */
  #newest = '';
  #position: object | undefined;
  #acking: NodeJS.Timeout | undefined;
  /** Socket.IO: what connection state recovery goes by. */
  #pid: string | undefined;
  #offset: string | undefined;
  /** The offset that it has acknowledged, and the one that the server has said so of. Acknowledgements are cumulative. */
  #acknowledged = 0;
  #answered = 0;

  constructor(kind: Kind, user: string, topics: string[] = []) {
    this.#kind = kind;
    this.user = user;
    this.#topics = topics;
  }

  get isSettled(): boolean {
    return this.#acking === undefined && this.#answered >= this.#acknowledged;
  }

  /** Opens, or comes back as the same page. */
  open(): void {
    const { port, path, wire } = this.#kind;
    const key = randomBytes(16).toString('base64');
    this.#accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    this.#isUpgraded = false;
    this.#isLeaving = false;
    this.#rest = undefined;
    const socket = connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          if (socket === this.#socket) this.#read(length);
          return true;
        },
      },
    });
    this.#socket = socket;
    const query = [`operator=${this.user}`, ...this.#topics.map((topic) => `topic=${topic}`)].join('&');
    socket.on('connect', () =>
      socket.write(
        [
          `GET ${path}${path.includes('?') ? '&' : '?'}${query} HTTP/1.1`,
          `Host: 127.0.0.1:${port}`,
          'Connection: Upgrade',
          'Upgrade: websocket',
          'Sec-WebSocket-Version: 13',
          `Sec-WebSocket-Key: ${key}`,
          ...(wire === 'tidings.1' ? ['Sec-WebSocket-Protocol: tidings.1'] : []),
          `Origin: http://127.0.0.1:${port}`,
          'User-Agent: Mozilla/5.0 (X11; Linux x86_64) tidings-bench',
          '\r\n',
        ].join('\r\n'),
      ),
    );
    socket.on('error', (error) => this.#fail(error.message));
    socket.on('close', () => {
      if (socket !== this.#socket) return;
      if (!this.#isLeaving) this.#fail('the server closed the connection');
      this.onClose();
    });
  }

  /** Ends as a page that is closed; `onClose` follows. */
  leave(): void {
    this.#isLeaving = true;
    this.#socket.write(CLOSE_FRAME);
  }

  /** Cuts the connection. No TIME_WAIT is left behind. */
  cut(): void {
    this.#isLeaving = true;
    clearTimeout(this.#acking);
    this.#acking = undefined;
    this.#acknowledged = this.#answered;
    this.#socket.resetAndDestroy();
  }

  #fail(what: string): void {
    if (this.#isLeaving) return;
    this.cut();
    this.onError(new Error(`page of ${this.user}, after message ${this.last}: ${what}`));
  }

  #say(text: string): void {
    this.#socket.write(clientFrame(1, Buffer.from(text)));
  }

  #read(length: number): void {
    let bytes: Buffer = readBuffer.subarray(0, length);
    if (this.#rest !== undefined) {
      bytes = Buffer.concat([this.#rest, bytes]);
      this.#rest = undefined;
    }
    let at = 0;
    if (!this.#isUpgraded) {
      const end = bytes.indexOf('\r\n\r\n');
      if (end < 0) {
        this.#rest = Buffer.from(bytes);
        return;
      }
      const head = bytes.toString('latin1', 0, end);
      if (!head.startsWith('HTTP/1.1 101') || !head.includes(this.#accept)) {
        this.#fail(`the handshake was refused: ${head.slice(0, 200)}`);
        return;
      }
      at = end + 4;
      this.#isUpgraded = true;
      this.#upgraded();
    }
    while (at < bytes.length) {
      const size = frameSize(bytes, at);
      if (size === undefined || at + size > bytes.length) {
        this.#rest = Buffer.from(bytes.subarray(at));
        return;
      }
      const header = bytes[at + 1]! < 126 ? 2 : bytes[at + 1] === 126 ? 4 : 10;
      this.#frame(bytes[at]!, bytes, at + header, at + size);
      at += size;
    }
  }

  #frame(first: number, bytes: Buffer, from: number, to: number): void {
    if (first === 0x81) this.#text(bytes.toString('latin1', from, to));
    else if (first === 0x89) this.#socket.write(clientFrame(0xa, Buffer.from(bytes.subarray(from, to))));
    else if (first === 0x88 && this.#isLeaving) this.#socket.end();
    else this.#fail(`a frame ${first.toString(16)}: ${bytes.toString('latin1', from, to).slice(0, 100)}`);
  }

  #upgraded(): void {
    if (this.#kind.wire === 'plain') this.onOpen();
    else if (this.#kind.wire === 'tidings.1') {
      if (this.#newest !== '') this.#position = positionIn(this.#newest);
      const positions = this.#position === undefined ? {} : { inbox: this.#position };
      const device = this.#kind.isQuiet ? {} : { device: `device-of-${this.user}` };
      this.#say(JSON.stringify({ type: 'hello', ...device, positions, topics: this.#topics }));
    }
  }

  #text(text: string): void {
    if (this.#kind.wire === 'plain') this.#message(text);
    else if (this.#kind.wire === 'tidings.1') this.#ofTidings(text);
    else this.#ofSocketIo(text);
  }

  #message(text: string): void {
    const at = text.indexOf('"n":');
    const n = at < 0 ? Number.NaN : Number.parseInt(text.slice(at + 4, at + 16), 10);
    if (n !== this.last + 1) {
      this.#fail(`lost, doubled or out of order: ${text.slice(0, 200)}`);
      return;
    }
    this.last = n;
    const time = text.indexOf('"t":');
    this.onMessage(Number.parseFloat(text.slice(time + 4, time + 24)));
  }

  #ofTidings(text: string): void {
    if (text.startsWith(MESSAGE)) {
      this.#message(text);
      if (this.#topics.length > 0) return;
      this.#newest = text;
      if (this.#kind.isQuiet) return;
      this.#acking ??= setTimeout(() => {
        this.#acking = undefined;
        const position = positionIn(this.#newest);
        this.#acknowledged = position.offset;
        this.#say(JSON.stringify({ type: 'ack', channel: 'inbox', position }));
      }, ACK_DELAY);
      return;
    }
    const frame = JSON.parse(text);
    if (frame.type === 'welcome') {
      for (const channel of ['inbox', ...this.#topics]) {
        if (!frame.channels[channel]?.recovered) this.#fail(`${channel} was not recovered: ${text}`);
      }
      if (this.#newest === '') this.#position = frame.channels.inbox.position;
      this.onOpen();
    } else if (frame.type === 'acked') this.#answered = frame.position.offset;
    else if (frame.type !== 'state') this.#fail(`unexpected: ${text}`);
  }

  /** Engine.IO 4, and Socket.IO in it. */
  #ofSocketIo(text: string): void {
    if (text.startsWith('0{')) {
      const auth = this.#pid === undefined ? {} : { pid: this.#pid, offset: this.#offset };
      this.#say(`40${JSON.stringify(auth)}`);
    } else if (text.startsWith('40{')) {
      this.#pid = JSON.parse(text.slice(2)).pid;
      this.onOpen();
    } else if (text.startsWith('42["m"')) {
      if (this.#pid !== undefined) this.#offset = JSON.parse(text.slice(2)).at(-1);
      this.#message(text);
    } else if (text === '2') this.#say('3');
    else this.#fail(`unexpected: ${text}`);
  }
}

function positionIn(text: string): { epoch: string; offset: number; id: string } {
  const { epoch, offset, id } = JSON.parse(text);
  return { epoch, offset, id };
}

/** Of header and payload; undefined where the header is not whole. */
function frameSize(bytes: Buffer, at: number): number | undefined {
  const available = bytes.length - at;
  if (available < 2) return undefined;
  const size = bytes[at + 1]!;
  if (size < 126) return 2 + size;
  if (size === 126) return available < 4 ? undefined : 4 + bytes.readUInt16BE(at + 2);
  return available < 10 ? undefined : 10 + Number(bytes.readBigUInt64BE(at + 2));
}
