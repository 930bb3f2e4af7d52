/** Who takes messages of a real source: a push server, what it has stored and what it has logged. */
import type { TestContext } from 'node:test';
import {
  PushServer,
  type RunningSource,
  type SourceOptions,
  type SourcePlace,
  source,
} from '../../src/index.ts';
import { memoryBroker } from '../../src/pubsub/store/memory-broker.ts';

export class Receiver {
  readonly push: PushServer;
  readonly events: string[] = [];
  readonly lines: string[] = [];
  /** While it is there, the store can't be reached. */
  fault: Error | undefined;

  private constructor() {
    const broker = memoryBroker();
    const publish = broker.publish.bind(broker);
    broker.publish = async (...args) => {
      if (this.fault !== undefined) throw this.fault;
      return publish(...args);
    };
    this.push = new PushServer({
      broker,
      log: (level, message, fields) => {
        this.events.push(fields.event);
        this.lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
      },
    });
  }

  static async start(t: TestContext): Promise<Receiver> {
    const receiver = new Receiver();
    await receiver.push.ready;
    t.after(() => receiver.push.close());
    return receiver;
  }

  /** Once it is connected. */
  async from(place: string | SourcePlace, options?: SourceOptions): Promise<RunningSource> {
    const running = source(this.push, place, options);
    await running.ready;
    return running;
  }

  /** What a user has, oldest first. */
  async stored<T = unknown>(user: string): Promise<T[]> {
    const all: T[] = [];
    let before: Awaited<ReturnType<PushServer['inbox']>>['before'];
    do {
      const page = await this.push.inbox(user, { limit: 200, ...(before !== undefined && { before }) });
      all.push(...page.messages.map(({ data }) => data as T));
      before = page.before;
    } while (before !== undefined);
    return all.reverse();
  }
}

/** 1, 2, … `last`. */
export function numbers(last: number, first = 1): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
