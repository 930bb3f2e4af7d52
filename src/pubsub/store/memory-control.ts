/** The control log of a memory store: a command is carried out by every instance before `say` returns. */
import { steadyNow } from '../../clock.ts';
import {
  type ControlCommand,
  type ControlListener,
  type ControlLog,
  type ControlRecord,
  MAX_RECORDS,
  type Mark,
  type SaySettings,
  tooManyRecords,
} from './control.ts';
import { messageId } from './random-id.ts';

/** What the brokers of a store share. */
export class MemoryCommands {
  readonly #listeners = new Set<ControlListener>();
  readonly #records = new Map<string, ControlRecord>();
  readonly mark: Mark = { epoch: messageId(), number: 0 };

  add(listener: ControlListener): void {
    this.#listeners.add(listener);
  }

  delete(listener: ControlListener): void {
    this.#listeners.delete(listener);
  }

  say(kind: string, body: unknown, { change }: SaySettings): number {
    if (change !== undefined) this.#change(change.key, change.record);
    this.mark.number++;
    // As JSON brings it everywhere else.
    const json = JSON.stringify(body);
    const time = Math.floor(steadyNow());
    const command: ControlCommand = { id: messageId(), kind, body: JSON.parse(json), time };
    let sum = 0;
    for (const listener of this.#listeners) sum += listener.obey(command, { ...this.mark });
    return sum;
  }

  #change(key: string, record: ControlRecord | undefined): void {
    if (record === undefined) {
      this.#records.delete(key);
      return;
    }
    if (!this.#records.has(key) && this.#records.size >= MAX_RECORDS && this.records().size >= MAX_RECORDS) {
      throw tooManyRecords();
    }
    this.#records.set(key, { ...record });
  }

  record(key: string): ControlRecord | undefined {
    const record = this.#records.get(key);
    return record !== undefined && record.until > Date.now() ? record : undefined;
  }

  /** Those that are not over, without the others from here on. */
  records(): Map<string, ControlRecord> {
    const time = Date.now();
    for (const [key, { until }] of this.#records) if (until <= time) this.#records.delete(key);
    return new Map(this.#records);
  }
}

export class MemoryControl implements ControlLog {
  readonly #commands: MemoryCommands;

  constructor(commands: MemoryCommands) {
    this.#commands = commands;
  }

  get mark(): Mark {
    return { ...this.#commands.mark };
  }

  mayDeliver(): boolean {
    return true;
  }

  async say(kind: string, body: unknown, settings: SaySettings = {}): Promise<number> {
    return this.#commands.say(kind, body, settings);
  }

  record(key: string): ControlRecord | undefined {
    return this.#commands.record(key);
  }

  records(): Map<string, ControlRecord> {
    return this.#commands.records();
  }
}
