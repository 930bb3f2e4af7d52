/** What went over the wire in one case, for its report: frames, chunks and the runner's own timers. */
import { isUtf8 } from 'node:buffer';
import type { Frame, FrameSpec } from './frames.ts';

export interface WireEntry {
  /** Milliseconds since the connection was open. */
  at: number;
  kind: 'received octets' | 'sent octets' | 'received frame' | 'sent frame' | 'runner';
  text: string;
}

const shown = 64;

export function preview(data: Buffer): string {
  if (data.length === 0) return '(empty)';
  const head = data.subarray(0, shown);
  const more = data.length > shown ? ` … (${data.length} octets)` : '';
  const text = isUtf8(data)
    ? head.toString().replace(/[\u0000-\u001f\u007f]/g, '·')
    : `0x${head.toString('hex')}`;
  return text + more;
}

export class WireLog {
  readonly entries: WireEntry[] = [];
  /** How many chunks of which size, and how many frames of which opcode, came and went. */
  readonly received = { octets: new Map<number, number>(), frames: new Map<number, number>() };
  readonly sent = { octets: new Map<number, number>(), frames: new Map<number, number>() };
  /** Off in the cases that measure, where a line per frame would be millions. */
  isOn = true;
  #start = performance.now();

  restart(): void {
    this.#start = performance.now();
  }

  note(text: string): void {
    this.#add('runner', text);
  }

  octets(direction: 'received' | 'sent', data: Buffer): void {
    count(this[direction].octets, data.length);
    if (!this.isOn) return;
    const head = data.subarray(0, shown).toString('hex');
    this.#add(`${direction} octets`, `${data.length}: ${head}${data.length > shown ? ' …' : ''}`);
  }

  receivedFrame(frame: Frame): void {
    count(this.received.frames, frame.opcode);
    if (!this.isOn) return;
    const { opcode, fin, rsv, maskKey, payload } = frame;
    const mask = maskKey ? `mask ${maskKey.toString('hex')}` : 'unmasked';
    this.#add('received frame', `opcode ${opcode}, fin ${fin}, rsv ${rsv}, ${mask}, ${preview(payload)}`);
  }

  sentFrame(frame: FrameSpec): void {
    count(this.sent.frames, frame.opcode);
    if (!this.isOn) return;
    const { opcode, fin = true, rsv = 0, maskKey, payload = Buffer.alloc(0) } = frame;
    const mask = maskKey ? `mask ${maskKey.toString('hex')}` : 'unmasked';
    this.#add('sent frame', `opcode ${opcode}, fin ${fin}, rsv ${rsv}, ${mask}, ${preview(payload)}`);
  }

  #add(kind: WireEntry['kind'], text: string): void {
    // A peer that floods must not make the report endless.
    if (this.entries.length < 2000) {
      this.entries.push({ at: Math.round(performance.now() - this.#start), kind, text });
    }
  }
}

function count(counts: Map<number, number>, key: number): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
