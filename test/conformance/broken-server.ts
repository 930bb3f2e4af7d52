/**
 * An echo server that keeps RFC 6455 and RFC 7692 – until a switch breaks one rule. It is there to show that the
 * conformance runner finds each of these defects. As a program: `broken-server.ts PORT DEFECT…`.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';
import { answerOffers, Compressor, Decompressor, type DeflateSettings } from '../../src/check/deflate.ts';
import { applyMask, encodeFrame, type FrameSpec, Opcode } from '../../src/check/frames.ts';
import { acceptUpgrade, type Head, readHead } from '../../src/check/handshake.ts';

/** What can be broken. */
export const defects = [
  'accepts unmasked frames',
  'ignores reserved bits',
  'ignores reserved opcodes',
  'accepts long control frames',
  'accepts fragmented control frames',
  'accepts a continuation of nothing',
  'accepts a new message inside a fragmented one',
  'accepts long length forms',
  'reads 64-bit lengths as 32-bit',
  'waits for whatever a length claims',
  'ignores what does not inflate',
  'refuses close codes that came after the RFC',
  'accepts invalid UTF-8',
  'checks UTF-8 only at the end',
  'checks UTF-8 in each fragment by itself',
  'echoes a wrong pong payload',
  'sends no pongs',
  'answers pongs with pongs',
  'answers pings after the message',
  'pongs only the last ping',
  'accepts invalid close codes',
  'refuses the codes of applications',
  'accepts a close payload of one octet',
  'accepts close reasons that are not UTF-8',
  'answers a close with a wrong code',
  'answers a close without a close',
  'answers a close late',
  'leaves the TCP connection open',
  'answers pings after a close',
  'echoes messages after a close',
  'fails with a wrong code',
  'drops what it echoed before failing',
  'masks its frames',
  'writes long length forms',
  'sets reserved bits',
  'echoes text as binary',
  'cuts messages at 65535 octets',
  'swaps octets across chunks',
  'echoes fragments as messages',
  'answers with a wrong key',
  'answers deflate that was not offered',
  'compresses without RSV1',
  'compresses with a context it promised to reset',
  'compresses with a larger window than promised',
  'forgets the context of the client',
  'accepts RSV1 on continuations',
  'never agrees on deflate',
] as const;

export type Defect = (typeof defects)[number];

class Failure extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`close ${code}`);
    this.code = code;
  }
}

const noLimits = { noContextTakeover: false, maxWindowBits: 0 };

function isPrefixOfUtf8(data: Buffer): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(data, { stream: true });
    return true;
  } catch {
    return false;
  }
}

function isWholeUtf8(data: Buffer): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(data);
    return true;
  } catch {
    return false;
  }
}

interface Header {
  fin: boolean;
  rsv: number;
  opcode: number;
  maskKey: Buffer | undefined;
  length: number;
  size: number;
}

class Connection {
  readonly #socket: Socket;
  readonly #has: (defect: Defect) => boolean;
  readonly #compressor: Compressor | undefined;
  readonly #deflate: DeflateSettings | undefined;
  #decompressor: Decompressor | undefined;
  #input = Buffer.alloc(0);
  #message: { opcode: number; isCompressed: boolean; pieces: Buffer[] } | undefined;
  #delayedPongs: Buffer[] = [];
  #output: Buffer[] = [];
  #isClosing = false;

  constructor(socket: Socket, has: (defect: Defect) => boolean, deflate: DeflateSettings | undefined) {
    this.#socket = socket;
    this.#has = has;
    this.#deflate = deflate;
    if (deflate) {
      const keepsContext = has('compresses with a context it promised to reset');
      const ignoresWindow = has('compresses with a larger window than promised');
      this.#compressor = new Compressor({
        noContextTakeover: deflate.own.noContextTakeover && !keepsContext,
        maxWindowBits: ignoresWindow ? 15 : deflate.own.maxWindowBits,
      });
      this.#decompressor = new Decompressor(deflate.peer);
    }
  }

  read(chunk: Buffer): void {
    if (this.#isClosing && !this.#staysAfterClose()) return;
    // Joins what is left over with what came, in the wrong order where that is the defect.
    const isSwapped = this.#has('swaps octets across chunks') && this.#input.length > 100;
    this.#input = Buffer.concat(isSwapped ? [chunk, this.#input] : [this.#input, chunk]);
    try {
      while (this.#readFrame());
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      if (this.#has('drops what it echoed before failing')) this.#output = [];
      this.#close(this.#has('fails with a wrong code') ? 1003 : error.code);
    }
    this.#flush();
  }

  #staysAfterClose(): boolean {
    return this.#has('answers pings after a close') || this.#has('echoes messages after a close');
  }

  #readFrame(): boolean {
    const header = this.#readHeader();
    if (!header) return false;
    const end = header.size + header.length;
    const payload = Buffer.from(this.#input.subarray(header.size, end));
    if (header.maskKey) applyMask(payload, header.maskKey);
    const isWhole = this.#input.length >= end;
    if (isWhole) this.#input = this.#input.subarray(end);
    if (header.opcode < 8) this.#onData(header, payload, isWhole);
    else if (isWhole) this.#onControl(header.opcode, payload);
    return isWhole && (!this.#isClosing || this.#staysAfterClose());
  }

  #readHeader(): Header | undefined {
    const input = this.#input;
    if (input.length < 2) return undefined;
    const [first, second] = input as unknown as [number, number];
    const header = { fin: (first & 0x80) !== 0, rsv: (first >> 4) & 7, opcode: first & 15 };
    const form = second & 0x7f;
    this.#checkFirst(header, form, (second & 0x80) !== 0);
    const lengthSize = form === 126 ? 2 : form === 127 ? 8 : 0;
    const size = 2 + lengthSize + (second & 0x80 ? 4 : 0);
    if (input.length < size) return undefined;
    let length = form;
    if (form === 126) length = input.readUInt16BE(2);
    else if (form === 127) length = this.#readLongLength(input.readBigUInt64BE(2));
    if (!this.#has('accepts long length forms')) {
      if ((form === 126 && length < 126) || (form === 127 && length < 65_536)) throw new Failure(1002);
    }
    const maskKey = second & 0x80 ? Buffer.from(input.subarray(size - 4, size)) : undefined;
    return { ...header, maskKey, length, size };
  }

  #readLongLength(length: bigint): number {
    if (this.#has('reads 64-bit lengths as 32-bit')) return Number(length & 0xffff_ffffn);
    if (this.#has('waits for whatever a length claims')) return Number(length);
    if (length >= 2n ** 63n) throw new Failure(1002);
    if (length > 64n * 1024n * 1024n) throw new Failure(1009);
    return Number(length);
  }

  #checkFirst({ fin, rsv, opcode }: Pick<Header, 'fin' | 'rsv' | 'opcode'>, form: number, isMasked: boolean) {
    const has = this.#has;
    const rsv1Fits =
      this.#deflate !== undefined &&
      rsv === 4 &&
      (opcode === 1 || opcode === 2 || (opcode === 0 && has('accepts RSV1 on continuations')));
    if (rsv !== 0 && !rsv1Fits && !has('ignores reserved bits')) throw new Failure(1002);
    if (!isMasked && !has('accepts unmasked frames')) throw new Failure(1002);
    const isReserved = (opcode > 2 && opcode < 8) || opcode > 10;
    if (isReserved && !has('ignores reserved opcodes')) throw new Failure(1002);
    if (opcode >= 8) {
      if (!fin && !has('accepts fragmented control frames')) throw new Failure(1002);
      if (form > 125 && !has('accepts long control frames')) throw new Failure(1002);
    }
    if (opcode === 0 && !this.#message && !has('accepts a continuation of nothing')) throw new Failure(1002);
    if ((opcode === 1 || opcode === 2) && this.#message) {
      if (!has('accepts a new message inside a fragmented one')) throw new Failure(1002);
    }
  }

  #onData({ fin, rsv, opcode }: Header, payload: Buffer, isWhole: boolean): void {
    if (opcode > 2) return;
    if (this.#isClosing && !this.#has('echoes messages after a close')) return;
    const isFirst = opcode !== 0 || !this.#message;
    const message =
      isFirst && !(this.#message && opcode !== 0)
        ? { opcode: opcode || 1, isCompressed: rsv === 4 && this.#deflate !== undefined, pieces: [] }
        : this.#message!;
    const soFar = Buffer.concat([...message.pieces, payload]);
    const isCheckable = message.opcode === 1 && !message.isCompressed;
    if (isCheckable && !this.#has('accepts invalid UTF-8')) {
      if (this.#has('checks UTF-8 in each fragment by itself')) {
        if (isWhole && !isWholeUtf8(payload)) throw new Failure(1007);
      } else if (!this.#has('checks UTF-8 only at the end') && !isPrefixOfUtf8(soFar)) {
        throw new Failure(1007);
      }
    }
    if (!isWhole) return;
    message.pieces.push(payload);
    this.#message = message;
    if (this.#has('echoes fragments as messages')) {
      this.#echo(payload, message.opcode);
      if (fin) this.#message = undefined;
      return;
    }
    if (!fin) return;
    this.#message = undefined;
    const data = message.isCompressed ? this.#inflate(soFar) : soFar;
    if (!data) return;
    if (message.opcode === 1 && !this.#has('accepts invalid UTF-8') && !isWholeUtf8(data)) {
      throw new Failure(1007);
    }
    this.#echo(data, message.opcode);
    for (const pong of this.#delayedPongs.splice(0)) this.#send({ opcode: Opcode.pong, payload: pong });
  }

  #inflate(data: Buffer): Buffer | undefined {
    if (this.#has('forgets the context of the client')) {
      this.#decompressor = new Decompressor(this.#deflate!.peer);
    }
    try {
      return this.#decompressor!.decompress(data);
    } catch {
      if (this.#has('ignores what does not inflate')) return undefined;
      throw new Failure(1007);
    }
  }

  #echo(data: Buffer, opcode: number): void {
    const cut = this.#has('cuts messages at 65535 octets') ? data.subarray(0, 65_535) : data;
    const isCompressed = this.#compressor !== undefined;
    const payload = isCompressed ? this.#compressor!.compress(cut) : cut;
    const rsv = isCompressed && !this.#has('compresses without RSV1') ? 4 : 0;
    this.#send({ opcode: this.#has('echoes text as binary') ? Opcode.binary : opcode, rsv, payload });
  }

  #onControl(opcode: number, payload: Buffer): void {
    const has = this.#has;
    if (opcode === Opcode.ping && has('answers pings after a close') && this.#isClosing) {
      this.#send({ opcode: Opcode.pong, payload });
      return;
    }
    if (this.#isClosing) return;
    if (opcode === Opcode.close) {
      this.#onClose(payload);
    } else if (opcode === Opcode.pong) {
      if (has('answers pongs with pongs')) this.#send({ opcode: Opcode.pong, payload });
    } else if (opcode === Opcode.ping && !has('sends no pongs')) {
      const answer = has('echoes a wrong pong payload') ? Buffer.alloc(payload.length, 'x') : payload;
      const isDelayed = has('answers pings after the message') && this.#message;
      if (isDelayed) this.#delayedPongs.push(answer);
      else if (!has('pongs only the last ping') || !this.#input.includes(0x89)) {
        this.#send({ opcode: Opcode.pong, payload: answer });
      }
    }
  }

  #onClose(payload: Buffer): void {
    const has = this.#has;
    if (payload.length === 0) {
      this.#close(undefined);
      return;
    }
    if (payload.length === 1) {
      if (!has('accepts a close payload of one octet')) throw new Failure(1002);
      this.#close(1000);
      return;
    }
    const code = payload.readUInt16BE(0);
    const last = has('refuses close codes that came after the RFC') ? 1011 : 1014;
    const isRegistered = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= last);
    const isOfApplication = code >= 3000 && code < 5000;
    if (isOfApplication && has('refuses the codes of applications')) throw new Failure(1002);
    if (!isRegistered && !isOfApplication && !has('accepts invalid close codes')) throw new Failure(1002);
    if (!isWholeUtf8(payload.subarray(2)) && !has('accepts close reasons that are not UTF-8')) {
      throw new Failure(1007);
    }
    this.#close(has('answers a close with a wrong code') ? 1001 : code);
  }

  #close(code: number | undefined): void {
    this.#isClosing = true;
    const payload = Buffer.alloc(code === undefined ? 0 : 2);
    if (code !== undefined) payload.writeUInt16BE(code);
    if (this.#has('answers a close late')) {
      setTimeout(() => {
        this.#send({ opcode: Opcode.close, payload });
        this.#flush();
        this.#socket.end();
      }, 10_000).unref();
      return;
    }
    if (!this.#has('answers a close without a close')) this.#send({ opcode: Opcode.close, payload });
    if (this.#has('leaves the TCP connection open')) return;
    // Only after what came in the same chunk, for the defects that go on.
    setImmediate(() => this.#socket.end());
  }

  #send(frame: FrameSpec): void {
    const octets = frame.payload?.length ?? 0;
    this.#output.push(
      encodeFrame({
        ...frame,
        ...(this.#has('sets reserved bits') && { rsv: 1 }),
        ...(this.#has('masks its frames') && { maskKey: Buffer.from('a1b2c3d4', 'hex') }),
        ...(this.#has('writes long length forms') && octets < 126 && { lengthForm: 16 as const }),
      }),
    );
  }

  #flush(): void {
    if (this.#output.length > 0 && !this.#socket.destroyed) this.#socket.write(Buffer.concat(this.#output));
    this.#output = [];
  }
}

async function serve(socket: Socket, has: (defect: Defect) => boolean): Promise<void> {
  const head: Head = await readHead(socket, 60_000);
  if (has('answers with a wrong key')) head.headers.set('sec-websocket-key', 'something else');
  const offers = head.headers.get('sec-websocket-extensions');
  let agreed = has('never agrees on deflate') ? undefined : answerOffers(offers, [noLimits]);
  if (has('answers deflate that was not offered')) {
    agreed ??= { answer: 'permessage-deflate', settings: { own: noLimits, peer: noLimits } };
  }
  acceptUpgrade(socket, head, agreed?.answer);
  const connection = new Connection(socket, has, agreed?.settings);
  socket.on('data', (chunk) => connection.read(chunk));
  if (head.rest.length > 0) connection.read(head.rest);
  socket.resume();
}

/** Starts a server with these defects; without any it is a sound one. */
export function startBrokenServer(...switches: Defect[]): Promise<{ url: URL; close(): Promise<void> }> {
  return listen(0, switches);
}

async function listen(port: number, switches: Defect[]): Promise<{ url: URL; close(): Promise<void> }> {
  const has = (defect: Defect): boolean => switches.includes(defect);
  const sockets = new Set<Socket>();
  const server: Server = createServer({ noDelay: true, pauseOnConnect: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    serve(socket, has).catch(() => socket.destroy());
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: new URL(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/`),
    async close() {
      server.close();
      for (const socket of sockets) socket.destroy();
      if (server.listening) await once(server, 'close');
    },
  };
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const [port, ...switches] = argv.slice(2);
  const unknown = switches.find((defect) => !(defects as readonly string[]).includes(defect));
  if (unknown !== undefined) throw new Error(`no defect is called «${unknown}»`);
  console.log(`listening on ${(await listen(Number(port ?? 0), switches as Defect[])).url}`);
}
