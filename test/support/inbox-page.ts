/**
 * A page that keeps an inbox as docs/wire.md has it, and writes down whatever was not as promised. It goes and comes back
 * to wherever it is told to, as the same page.
 */
import { type Counts, countsOf, type MarkAs, type Ranges } from '../../src/pubsub/store/marks.ts';
import type {
  ChannelState,
  ServerFrame,
  StateSnapshot,
  WireMessage,
  WirePosition,
} from '../../src/push/talk/wire.ts';
import { WebSocket } from '../../src/ws.ts';

export interface Given {
  id: string;
  /** `undefined` where it was gone when it came. */
  data: unknown;
}

interface Answer {
  changed: number;
  version: WirePosition;
}

/** Milliseconds before it tries again, where it comes back by itself. */
const PAUSE = 30;

export class InboxPage {
  readonly user: string;
  readonly name: string;
  position: WirePosition | undefined;
  state: StateSnapshot | undefined;
  /** The lowest offset that is kept, as far as it knows. */
  first = 1;
  /** What it was sent, by offset. */
  readonly given = new Map<number, Given>();
  /** Why it was told that messages are missing. */
  readonly gaps: string[] = [];
  /** How many times it was told that marks were lost. */
  rewinds = 0;
  readonly problems: string[] = [];
  isReady = false;
  #socket: WebSocket | undefined;
  #isToStay = false;
  #refs = 0;
  readonly #asked = new Map<string, { resolve(answer: Answer): void; reject(error: Error): void }>();

  constructor(user: string, name: string) {
    this.user = user;
    this.name = name;
  }

  /**
   * Connects, and goes on where it stood.
   *
   * @param addressOf asked for each try
   * @param isToStay whether it comes back by itself when it loses the connection
   */
  open(addressOf: () => string, isToStay = false): void {
    this.#isToStay = isToStay;
    const address = new URL(addressOf());
    address.searchParams.set('user', this.user);
    const socket = new WebSocket(address.href, ['tidings.1']);
    this.#socket = socket;
    socket.on('error', () => {});
    socket.on('open', () => socket.send(JSON.stringify(this.#hello())));
    socket.on('message', (text) => {
      if (this.#socket === socket) this.#hear(JSON.parse(String(text)) as ServerFrame);
    });
    socket.on('close', () => {
      if (this.#socket !== socket) return;
      this.#end();
      if (this.#isToStay) setTimeout(() => this.#isToStay && this.open(addressOf, true), PAUSE);
    });
  }

  /** Cuts the connection. */
  leave(): void {
    this.#isToStay = false;
    this.cut();
  }

  /** The same, and it comes back if it is to stay. */
  cut(): void {
    const socket = this.#socket;
    if (this.#isToStay) socket?.terminate();
    else {
      this.#end();
      socket?.terminate();
    }
  }

  /** Rejects where the connection is lost meanwhile, or the server refuses it. */
  mark(as: MarkAs, which: { messages?: WirePosition[]; upTo?: WirePosition } = {}): Promise<Answer> {
    const ref = String(++this.#refs);
    return new Promise((resolve, reject) => {
      if (!this.isReady) return reject(new Error('the page is not connected'));
      this.#asked.set(ref, { resolve, reject });
      this.#socket!.send(JSON.stringify({ type: 'mark', as, ...which, ref }));
    });
  }

  positionAt(offset: number): WirePosition {
    return { epoch: this.position?.epoch ?? '', offset, id: this.given.get(offset)?.id ?? '' };
  }

  get last(): number {
    return Math.max(this.position?.offset ?? 0, this.state?.last ?? 0);
  }

  get marks(): { seen: Ranges; read: Ranges; archived: Ranges; gone: Ranges; version: WirePosition } {
    const { seen = [], read = [], archived = [], gone = [], version } = this.state ?? {};
    return { seen, read, archived, gone, version: version ?? { epoch: '', offset: 0, id: '' } };
  }

  get counts(): Counts {
    return countsOf(this.marks, this.first, this.last);
  }

  #hello(): object {
    const version = this.state?.version;
    return {
      type: 'hello',
      start: 'retained',
      ...(this.position !== undefined && { positions: { inbox: this.position } }),
      ...(version !== undefined && { states: { inbox: version } }),
    };
  }

  #end(): void {
    this.#socket = undefined;
    this.isReady = false;
    for (const { reject } of this.#asked.values()) reject(new Error('the connection was lost'));
    this.#asked.clear();
  }

  #hear(frame: ServerFrame): void {
    if (frame.type === 'welcome') {
      const { inbox } = frame.channels;
      if (inbox === undefined) this.problems.push('no inbox in welcome');
      else {
        this.#begin(inbox, this.position !== undefined);
        if (inbox.state === undefined) this.problems.push('no state in welcome');
        else this.#take(inbox.state);
      }
      this.isReady = true;
    } else if (frame.type === 'gap') {
      this.#begin(frame, true);
      if (frame.state !== undefined) this.#take(frame.state);
    } else if (frame.type === 'message') this.#message(frame);
    else if (frame.type === 'state') this.#take(frame);
    else if (frame.type === 'marked') {
      this.#asked.get(frame.ref!)?.resolve(frame);
      this.#asked.delete(frame.ref!);
    } else if (frame.type === 'error') {
      const asked = this.#asked.get(frame.ref ?? '');
      this.#asked.delete(frame.ref ?? '');
      if (asked !== undefined) asked.reject(new Error(frame.code));
      else this.problems.push(`error ${JSON.stringify(frame)}`);
    }
  }

  #begin({ position, recovered, reason }: ChannelState, hadPosition: boolean): void {
    if (!recovered && hadPosition) {
      this.gaps.push(reason ?? '');
      this.given.clear();
    } else if (hadPosition && position.offset !== this.position!.offset && this.position!.offset > 0) {
      this.problems.push(`said to be recovered at ${position.offset}, not at ${this.position!.offset}`);
    }
    this.position = position;
  }

  #message({ channel, epoch, offset, id, data, gone }: WireMessage): void {
    if (channel !== 'inbox') return;
    const { position } = this;
    if (position === undefined || offset !== position.offset + 1) {
      this.problems.push(`message ${offset} behind ${position?.offset}`);
    }
    if (gone && data !== null) this.problems.push(`message ${offset} is gone and has data`);
    this.position = { epoch, offset, id };
    this.given.set(offset, { id, data: gone ? undefined : data });
    const { last, most } = this.state!;
    if (offset > last) this.first = Math.max(this.first, offset - most + 1);
  }

  #take(state: StateSnapshot): void {
    this.state = state;
    this.first = state.first;
    if (state.rewound) this.rewinds++;
    const { counts } = state;
    const own = countsOf(this.marks, state.first, state.last);
    if (JSON.stringify(counts) !== JSON.stringify(own)) {
      this.problems.push(`counts ${JSON.stringify(counts)} with ranges that say ${JSON.stringify(own)}`);
    }
  }
}
