/**
 * A whole `Connection` over a fake socket, either role: what comes and what is sent, compressed or not, in pieces and
 * in fragments, with pauses, a peer that reads when it likes, little room, and an end at any moment. A slow model says
 * what must have been delivered, sent and called back.
 */
import assert from 'node:assert/strict';
import { type DeflateParameters, encodeFrame, MessageDeflate, RSV1 } from '../../src/protocol/index.ts';
import type { Random } from '../../src/prove/random.ts';
import { Connection, type ConnectionEvents, type ConnectionOptions } from '../../src/server/connection.ts';
import { Audience, type Encode } from '../../src/server/fan-out.ts';
import { PreparedMessage } from '../../src/server/prepared-message.ts';
import { Traffic } from '../../src/server/traffic.ts';
import { FakeSocket } from './fake-socket.ts';
import { readSlowly, type Said, slowInflater } from './model.ts';
import { chunkEnds } from './mutate.ts';
import type { Target } from './target.ts';

const MAX_PAYLOAD = 40_000;
/** Turns of the event loop that anything may take; those past the first thousand last a millisecond. */
const PATIENCE = 6000;

const events: ConnectionEvents<Case> = {
  message: (owner, data, isBinary) => owner.heardMessage(data, isBinary),
  fragment: (owner, data, isBinary, isLast) => owner.heardFragment(data, isBinary, isLast),
  ping: (owner, data) => owner.heard({ kind: 'ping', data: Buffer.from(data) }),
  pong: (owner, data) => owner.heard({ kind: 'pong', data: Buffer.from(data) }),
  failed: (owner, error) => owner.failed(error),
  socketError: () => {},
  leaving: () => {},
  overfull: () => {},
  drain: (owner) => {
    owner.drains++;
  },
  closed: (owner, code, reason) => owner.closed(code, reason),
};

/** Something that was given to the connection to send. */
interface Sent {
  isBinary: boolean;
  data: Buffer;
  /** How often it was called back, and with what. */
  calls: (Error | null | undefined)[];
  hasCallback: boolean;
  /** Not even accepted, or never to be sent because of something before it. */
  isDropped: boolean;
  /** There may have been no room for it, which nobody is told of. */
  isOptional: boolean;
}

class Case {
  readonly #random: Random;
  readonly #role: 'server' | 'client';
  readonly #parameters: DeflateParameters | null;
  readonly #options: ConnectionOptions;
  readonly #socket: FakeSocket;
  readonly #connection: Connection<Case>;
  readonly #audience: Audience | null;
  readonly #threshold: number;

  // What comes: its bytes, cut into chunks, and what must be heard of it.
  readonly #chunks: Buffer[] = [];
  readonly #toHear: Said[] = [];
  readonly #heard: Said[] = [];
  /** Messages that are ours to keep, with what was in them. */
  readonly #kept: { data: Buffer; copy: Buffer }[] = [];
  #pieces: Buffer[] = [];
  #closedWith: { code: number; reason: string } | undefined;
  drains = 0;

  // What is sent: whole messages on the wire, in order, and messages whose parts have not all been sent yet.
  readonly #all: Sent[] = [];
  readonly #wire: Sent[][] = [];
  #parts: Sent[] | null = null;
  #behindParts: Sent[][] = [];
  readonly #controls: { kind: 'ping' | 'pong'; data: Buffer; isSent: boolean }[] = [];
  #drainsBefore = -1;
  /** Our own close frame, if we were the first to think of it. */
  #close: { code: number; reason: string } | undefined;
  /** How many messages were sent before it. */
  #beforeClose = 0;
  /** Something was cut off: what was to come or to be sent may be missing from here on. */
  #isCut = false;
  #isLimited = false;
  #isEnding = false;
  /** What is late, and how to say that it has come. */
  #late: (() => void)[] = [];
  #count = 0;

  constructor(random: Random) {
    this.#random = random;
    this.#role = random.chance(2) ? 'server' : 'client';
    this.#parameters = random.chance(3) ? null : this.#chooseParameters();
    this.#isLimited = random.chance(3);
    this.#threshold = random.pick([0, 100]);
    const encode: Encode = (message, form) =>
      form === 0 || message.payload.length < this.#threshold
        ? message.plain
        : message.compressed(form, undefined);
    this.#options = {
      role: this.#role,
      maxPayload: MAX_PAYLOAD,
      maxFragments: 0,
      closeTimeout: 600_000,
      autoPong: !random.chance(4),
      skipUTF8Validation: random.chance(4),
      allowSynchronousEvents: !random.chance(4),
      maxBackpressure: this.#isLimited ? random.pick([1000, 20_000]) : Number.POSITIVE_INFINITY,
      backpressurePolicy: random.chance(2) ? 'drop' : 'close',
      traffic: new Traffic(),
      tooSlowCode: 1013,
      pongTimeoutCode: 4408,
      partial: random.chance(4),
      views: random.chance(4),
      encode: this.#role === 'server' ? encode : null,
    };
    this.#socket = new FakeSocket(random);
    const deflate =
      this.#parameters &&
      new MessageDeflate(this.#role, this.#parameters, { threshold: this.#threshold, concurrencyLimit: 3 });
    this.#connection = new Connection(this.#socket, this, events, this.#options, deflate, null);
    this.#audience = this.#role === 'server' ? new Audience(encode) : null;
    this.#audience?.add(this.#connection);
    this.#script();
  }

  #chooseParameters(): DeflateParameters {
    const random = this.#random;
    return {
      serverNoContextTakeover: random.chance(2),
      clientNoContextTakeover: random.chance(2),
      serverMaxWindowBits: random.pick([undefined, 9, 12]),
      clientMaxWindowBits: random.pick([undefined, 9, 12]),
    };
  }

  /** A payload that says which it is, and of which much comes again. */
  #payload(isBinary: boolean): Buffer {
    const random = this.#random;
    const length = random.pick([0, 1, 30, 130, 2000, 16_385, random.below(300), 12_000, MAX_PAYLOAD]);
    const seed = isBinary
      ? Buffer.from([this.#count++ & 255, random.next() & 255, 0xff])
      : Buffer.from(`${this.#count++} ä€😀 `);
    const data = Buffer.alloc(length, seed);
    return isBinary ? data : Buffer.from(data.toString().replaceAll('\ufffd', ''));
  }

  // ── what the peer says ───────────────────────────────────────────────────────────────────────────

  #script(): void {
    const random = this.#random;
    const mask = (): number | undefined => (this.#role === 'server' ? random.next() | 0 : undefined);
    const frames: Buffer[] = [];
    const peer =
      this.#parameters && new MessageDeflate(this.#role === 'server' ? 'client' : 'server', this.#parameters);
    const say = (first: number, payload: Buffer): void =>
      void frames.push(encodeFrame(first, payload, mask()));
    const ping = (): void => {
      const data = Buffer.from(`p${this.#count++}`);
      const kind = random.chance(4) ? 'pong' : 'ping';
      say(kind === 'ping' ? 0x89 : 0x8a, data);
      this.#toHear.push({ kind, data });
    };
    for (let count = random.below(12); count > 0; count--) {
      if (random.chance(3)) {
        ping();
        continue;
      }
      const isBinary = random.chance(2);
      const data = this.#payload(isBinary);
      let bytes: Buffer = data;
      let flags = isBinary ? 2 : 1;
      if (peer?.canDeflate && data.length <= 10_240 && random.chance(2)) {
        bytes = peer.deflate(data, assert.fail)!;
        flags |= RSV1;
      }
      for (let parts = random.chance(2) ? random.below(4) : 0; parts > 0; parts--) {
        const cut = random.below(bytes.length + 1);
        say(flags, bytes.subarray(0, cut));
        bytes = bytes.subarray(cut);
        flags = 0;
        if (random.chance(3)) ping();
      }
      say(0x80 | flags, bytes);
      this.#toHear.push({ kind: 'message', isBinary, data });
    }
    peer?.close();
    if (random.chance(4)) this.#scriptEnd(say);
    const bytes = Buffer.concat(frames);
    let at = 0;
    const ends = bytes.length < 2000 ? chunkEnds(bytes.length, random) : someEnds(bytes.length, random);
    for (const end of ends) {
      // Of its own for each, as reads of a socket are.
      if (end > at) this.#chunks.push(Buffer.from(bytes.subarray(at, end)));
      at = end;
    }
  }

  #scriptEnd(say: (first: number, payload: Buffer) => void): void {
    const random = this.#random;
    if (random.chance(2)) {
      const code = random.pick([1000, 1001, 3000, 1005]);
      const reason = code === 1005 ? '' : random.pick(['', 'bye', 'ä'.repeat(61)]);
      const payload = Buffer.concat([
        Buffer.from(code === 1005 ? [] : [code >> 8, code & 255]),
        Buffer.from(reason),
      ]);
      say(0x88, payload);
      this.#toHear.push({ kind: 'close', code, reason });
    } else {
      const [first, payload, closeCode] = random.pick([
        [0x83, Buffer.from('reserved'), 1002],
        [0x80, Buffer.from('nothing to continue'), 1002],
        [0x82, Buffer.alloc(MAX_PAYLOAD + 1), 1009],
        [0x88, Buffer.from([0, 1]), 1002],
      ] as const);
      say(first, payload);
      this.#toHear.push({ kind: 'error', closeCode });
    }
    // What follows is for nobody.
    if (random.chance(2)) say(0x81, Buffer.from('too late'));
  }

  // ── what is heard ────────────────────────────────────────────────────────────────────────────────

  heard(said: Said): void {
    assert.equal(this.#closedWith, undefined, 'nothing is delivered after the end');
    this.#heard.push(said);
    if (this.#random.chance(6)) this.#act();
  }

  heardMessage(data: Buffer, isBinary: boolean): void {
    assert.ok(!this.#options.partial);
    const copy = Buffer.from(data);
    if (!this.#options.views) this.#kept.push({ data, copy });
    this.heard({ kind: 'message', isBinary, data: copy });
  }

  heardFragment(data: Buffer, isBinary: boolean, isLast: boolean): void {
    assert.ok(this.#options.partial);
    this.#pieces.push(Buffer.from(data));
    if (!isLast) return;
    const whole = Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.heard({ kind: 'message', isBinary, data: whole });
  }

  failed(error: Error): void {
    const { closeCode } = error as { closeCode?: number };
    if (closeCode === undefined) this.#isCut = true;
    else this.heard({ kind: 'error', closeCode });
  }

  closed(code: number, reason: string): void {
    assert.equal(this.#closedWith, undefined, 'there is one end');
    this.#closedWith = { code, reason };
    this.#audience?.delete(this.#connection);
  }

  // ── what is done ─────────────────────────────────────────────────────────────────────────────────

  async run(): Promise<void> {
    const random = this.#random;
    this.#connection.start(
      this.#chunks.length > 0 && random.chance(4) ? this.#chunks.shift()! : Buffer.alloc(0),
    );
    for (let steps = 5 + random.below(40); steps > 0; steps--) {
      const what = random.below(10);
      if (what < 3) this.#feed();
      else if (what < 7) this.#act();
      else if (what === 7) this.#socket.peerReads();
      else if (what === 8) this.#late.shift()?.();
      else await turn();
    }
    await this.#settle();
    // What was published by the last that was heard leaves at the end of its turn.
    await turn();
    await turn();
    this.#judgeOpen();
    await this.#end();
    this.#judge();
  }

  #feed(): void {
    const chunk = this.#chunks.shift();
    if (chunk !== undefined && !this.#socket.destroyed && !this.#socket.readableEnded)
      this.#socket.push(chunk);
  }

  /** One thing that an application does. */
  #act(): void {
    const connection = this.#connection;
    const random = this.#random;
    const what = random.below(40);
    if (what < 2) connection.pause();
    else if (what < 6) connection.resume();
    if (what < 6 || !connection.isOpen) return;
    if (what === 6 && random.chance(2)) this.#closeNow();
    else if (what === 7 && random.chance(4)) this.#cut(() => connection.terminate());
    else if (what < 12) this.#control();
    else if (what < 18) this.#shared(false);
    else if (what < 24) this.#shared(true);
    else if (what < 27) this.#sendLater();
    else this.#send();
  }

  #closeNow(): void {
    const code = this.#random.pick([1000, 1001, 4000]);
    const reason = this.#random.pick(['', 'enough']);
    this.#connection.close(code, reason);
    this.#close = { code, reason };
    this.#beforeClose = this.#wire.length;
  }

  #cut(how: () => void): void {
    this.#isCut = true;
    how();
  }

  #control(): void {
    const kind = this.#random.chance(2) ? 'ping' : 'pong';
    const data = Buffer.from(`a${this.#count++}`);
    this.#controls.push({ kind, data: Buffer.from(data), isSent: false });
    this.#connection.control(kind === 'ping' ? 9 : 10, data);
    data.fill(0xee);
  }

  #begin(isBinary: boolean, data: Buffer, hasCallback: boolean): Sent {
    const sent = {
      isBinary,
      data: Buffer.from(data),
      calls: [],
      hasCallback,
      isDropped: false,
      isOptional: false,
    };
    this.#all.push(sent);
    return sent;
  }

  #callbackOf(sent: Sent): ((error?: Error | null) => void) | undefined {
    return sent.hasCallback ? (error) => void sent.calls.push(error) : undefined;
  }

  #send(): void {
    const random = this.#random;
    // All parts are of one kind.
    const isBinary = this.#parts?.[0]?.isBinary ?? random.chance(2);
    const data = this.#payload(isBinary);
    const fin = !random.chance(5);
    const sent = this.#begin(isBinary, data, random.chance(2));
    const given = isBinary || random.chance(2) ? data : data.toString();
    const options = { fin, compress: !random.chance(4) };
    this.#note(sent, this.#connection.send(given, isBinary, options, this.#callbackOf(sent)));
    if (!sent.isDropped) this.#part(sent, fin);
    // What was sent is the application's again.
    data.fill(0xee);
  }

  #sendLater(): void {
    const random = this.#random;
    const isBinary = this.#parts?.[0]?.isBinary ?? true;
    const data = this.#payload(isBinary);
    const fin = !random.chance(5);
    const sent = this.#begin(isBinary, data, random.chance(2));
    const bytes = new Promise<Uint8Array>((resolve, reject) => {
      const fails = random.chance(10);
      const come = (): void => {
        if (!fails) {
          resolve(data);
          return;
        }
        // It ends the connection, and where that has failed already nobody is told again.
        if (!sent.isDropped) this.#isCut = true;
        reject(new Error('unreadable'));
      };
      this.#late.push(come);
    });
    const options = { fin, compress: true };
    this.#note(sent, this.#connection.sendLater(data.length, bytes, true, options, this.#callbackOf(sent)));
    if (!sent.isDropped) this.#part(sent, fin);
  }

  /** One message for many: by a call for this connection, or with all others at the end of the turn. */
  #shared(publishes: boolean): void {
    const random = this.#random;
    const isBinary = random.chance(2);
    const data = this.#payload(isBinary);
    const sent = this.#begin(isBinary, data, !publishes && random.chance(2));
    const prepared = new PreparedMessage(data, isBinary);
    if (!publishes) {
      this.#note(sent, this.#connection.sendPrepared(prepared, this.#callbackOf(sent)));
    } else if (this.#audience === null) {
      sent.isDropped = true;
    } else {
      this.#audience.publish(prepared);
      // Nobody is told where there was no room, or where the connection ended before the turn did.
      sent.isOptional = this.#isLimited || this.#isEnding;
    }
    if (!sent.isDropped) this.#whole([sent]);
    data.fill(0xee);
  }

  #note(sent: Sent, result: 'sent' | 'queued' | 'dropped'): void {
    if (result === 'dropped') {
      assert.ok(this.#isLimited, 'nothing is dropped where there is no limit');
      sent.isDropped = true;
    }
    if (result !== 'sent') this.#drainsBefore = this.drains;
  }

  #part(sent: Sent, fin: boolean): void {
    if (this.#parts !== null) {
      this.#parts.push(sent);
    } else if (fin) {
      this.#whole([sent]);
    } else {
      this.#parts = [sent];
    }
    if (!fin || this.#parts === null) return;
    this.#wire.push(this.#parts, ...this.#behindParts);
    this.#parts = null;
    this.#behindParts = [];
  }

  /** A whole message never stands within another one (§5.4). */
  #whole(message: Sent[]): void {
    if (this.#parts === null) this.#wire.push(message);
    else this.#behindParts.push(message);
  }

  // ── the end ──────────────────────────────────────────────────────────────────────────────────────

  async #settle(): Promise<void> {
    const connection = this.#connection;
    this.#socket.peerReadsAll();
    for (let turns = 0; turns < PATIENCE; turns++) {
      for (const come of this.#late.splice(0)) come();
      this.#feed();
      this.#endParts();
      connection.resume();
      await turn(turns);
      if (this.#closedWith !== undefined) return;
      const isFed =
        (this.#chunks.length === 0 || this.#socket.readableEnded) &&
        (this.#parts === null || !connection.isOpen);
      // A close frame is told of at the end.
      const toHear = this.#toHear.filter(({ kind }) => kind !== 'close');
      const isHeard = this.#heard.length >= toHear.length || this.#isCut;
      // What waits behind parts that never end is not sent any more once the connection is being closed.
      const isSent =
        (connection.bufferedAmount === 0 && this.#late.length === 0) || (!connection.isOpen && turns > 200);
      if (isFed && isHeard && isSent && turns > 3) return;
    }
    assert.fail(
      `stalled with ${connection.bufferedAmount} bytes, ${this.#heard.length} of ${this.#toHear.length} heard`,
    );
  }

  /** Sends the last part of a message, as soon as there is room for it. */
  #endParts(): void {
    if (!this.#connection.isOpen || this.#parts === null) return;
    const { isBinary } = this.#parts[0]!;
    const sent = this.#begin(isBinary, Buffer.from('the last part'), true);
    const options = { fin: true, compress: false };
    this.#note(sent, this.#connection.send(sent.data, isBinary, options, this.#callbackOf(sent)));
    if (!sent.isDropped) this.#part(sent, true);
  }

  /** What must be so while the connection is open and nothing is under way. */
  #judgeOpen(): void {
    if (!this.#connection.isOpen) return;
    assert.ok(this.drains > this.#drainsBefore, 'who was told to wait is told to go on');
    for (const { hasCallback, isDropped, calls } of this.#all) {
      if (this.#parts !== null) break;
      assert.equal(calls.length, hasCallback ? 1 : 0, 'called back');
      if (hasCallback) assert.equal(calls[0] === null, !isDropped, 'what was accepted was sent');
    }
    if (!this.#options.autoPong) return;
    const pings = this.#heard.filter(({ kind }) => kind === 'ping') as { data: Buffer }[];
    const last = this.#written().said.findLast((said) => said.kind === 'pong' && said.data[0] === 0x70);
    assert.deepEqual(
      (last as { data: Buffer } | undefined)?.data,
      pings.at(-1)?.data,
      'the newest ping has its pong',
    );
  }

  async #end(): Promise<void> {
    this.#isEnding = true;
    const socket = this.#socket;
    const connection = this.#connection;
    const how = this.#random.below(5);
    if (connection.isOpen && how === 0) this.#closeNow();
    if (this.#closedWith === undefined && connection.isOpen && how === 1)
      this.#cut(() => connection.terminate());
    if (!socket.destroyed && how === 2) this.#cut(() => socket.destroy(new Error('ECONNRESET')));
    if (connection.bufferedAmount > 0) this.#isCut = true;
    if (!socket.destroyed && !socket.readableEnded) socket.push(null);
    for (let turns = 0; this.#closedWith === undefined; turns++) {
      connection.resume();
      if (turns === 100) socket.end();
      if (turns === 200) this.#cut(() => connection.terminate());
      assert.ok(turns < PATIENCE, 'the end comes');
      await turn(turns);
    }
    for (const come of this.#late.splice(0)) come();
    for (let turns = 0; turns < 5; turns++) await turn();
  }

  #written(): { said: Said[]; bytes: Buffer } {
    const bytes = Buffer.concat(this.#socket.taken);
    const parameters = this.#parameters;
    const isServer = this.#role === 'server';
    const inflate =
      parameters &&
      slowInflater(
        (isServer ? parameters.serverMaxWindowBits : parameters.clientMaxWindowBits) ?? 15,
        !(isServer ? parameters.serverNoContextTakeover : parameters.clientNoContextTakeover),
      );
    const limits = { role: isServer ? 'client' : 'server', maxPayload: 0, maxFragments: 0 } as const;
    return { said: readSlowly(bytes, inflate ? { ...limits, inflate } : limits), bytes };
  }

  #judge(): void {
    // What was heard is what was said, as far as it went.
    const close = this.#toHear.find(({ kind }) => kind === 'close') as (Said & { kind: 'close' }) | undefined;
    const all = this.#toHear.filter((said) => said !== close);
    const toHear = this.#isCut ? all.slice(0, this.#heard.length) : all;
    assert.deepEqual(this.#heard, toHear, 'what is heard');
    for (const { data, copy } of this.#kept) assert.ok(data.equals(copy), 'a message may be kept');

    const end = this.#closedWith!;
    const isTooSlow = this.#isLimited && end.code === 1013;
    if (close !== undefined && !this.#isCut) {
      assert.deepEqual(end, { code: close.code, reason: close.reason }, 'the end is what the peer said');
    } else if (!isTooSlow && !this.#isCut) {
      assert.equal(end.code, 1006);
    }

    this.#judgeSent(close, isTooSlow);
    for (const { hasCallback, calls } of this.#all) {
      assert.equal(calls.length, hasCallback ? 1 : 0, 'called back once');
    }
  }

  #judgeSent(close: (Said & { kind: 'close' }) | undefined, isTooSlow: boolean): void {
    const { said } = this.#written();
    assert.ok(!said.some(({ kind }) => kind === 'error'), 'what is sent is right');
    const ending = said.find(({ kind }) => kind === 'close') as (Said & { kind: 'close' }) | undefined;
    if (ending !== undefined) {
      assert.equal(said.at(-1), ending, 'nothing follows a close frame');
      const failure = this.#heard.find(({ kind }) => kind === 'error') as
        | (Said & { kind: 'error' })
        | undefined;
      const allowed = [
        this.#close?.code,
        close?.code,
        failure?.closeCode,
        isTooSlow || this.#isLimited ? 1013 : undefined,
      ];
      assert.ok(allowed.includes(ending.code), `closed with ${ending.code}`);
    }

    // Whole messages, in order; what may be missing is skipped, and after a cut all that follows may be. Where two are
    // the same, as empty ones are, it may be either that is missing: so many as may have come are kept in mind.
    const messages = said.filter(({ kind }) => kind === 'message') as (Said & { kind: 'message' })[];
    const isEnded = this.#isCut || ending !== undefined;
    const atLeast = this.#isCut ? 0 : this.#beforeClose;
    let counts = new Set([0]);
    for (const [i, parts] of this.#wire.entries()) {
      const data = Buffer.concat(parts.map((part) => part.data));
      const { isBinary, isOptional } = parts[0]!;
      const { calls } = parts.at(-1)!;
      const isSent = calls.length > 0 && calls[0] === null;
      const after = new Set<number>();
      for (const count of counts) {
        const message = messages[count];
        if (message !== undefined && message.isBinary === isBinary && message.data.equals(data))
          after.add(count + 1);
        const mayMiss = isOptional || (isEnded && i >= atLeast && count === messages.length);
        if (mayMiss && !isSent) after.add(count);
      }
      assert.ok(after.size > 0, 'messages arrive, whole and in order');
      counts = after;
    }
    assert.ok(counts.has(messages.length), 'nothing arrives that was not sent');

    // Controls of the application's, in order, and pongs for pings: each at most once, in order.
    const isOurs = (entry: Said): boolean =>
      'data' in entry && entry.kind !== 'message' && entry.data[0] === 0x61;
    const controls = said.filter(isOurs) as { kind: string; data: Buffer }[];
    for (const [i, { kind, data }] of controls.entries()) {
      assert.deepEqual({ kind, data }, { kind: this.#controls[i]?.kind, data: this.#controls[i]?.data });
    }
    if (!isEnded) assert.equal(controls.length, this.#controls.length);
    const pings = this.#heard.filter(({ kind }) => kind === 'ping') as { data: Buffer }[];
    let from = 0;
    for (const pong of said) {
      if (pong.kind !== 'pong' || isOurs(pong)) continue;
      const ping = pings.findIndex(({ data }, i) => i >= from && data.equals(pong.data));
      assert.ok(ping >= 0 && this.#options.autoPong, 'a pong answers a ping, once');
      from = ping + 1;
    }
  }
}

/** Where to cut what is long: not everywhere. */
function someEnds(length: number, random: Random): number[] {
  const ends = Array.from({ length: random.below(10) }, () => random.below(length));
  return [...ends.sort((a, b) => a - b), length];
}

/** Lets the event loop turn. The thread pool of a busy machine may need longer than many turns. */
function turn(before = 0): Promise<void> {
  return new Promise((resolve) => {
    if (before < 1000) setImmediate(resolve);
    else setTimeout(resolve, 1);
  });
}

export const connections: Target = {
  name: 'connections',
  corpus: [Buffer.alloc(0)],
  async run(_input, random) {
    await new Case(random).run();
  },
};
