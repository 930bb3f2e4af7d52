/**
 * The primary process of `tidings serve --workers`: it has the port, and hands connections to its workers in turn; each is
 * an instance of its own. It keeps their number, and speaks for all of them.
 */
import cluster, { type Worker } from 'node:cluster';
import { gauge } from '../metrics/family.ts';
import { type Family, ProcessMetrics } from '../metrics/index.ts';
import { within } from '../waiting.ts';
import type { LogOutput } from './log-output.ts';
import type { Places } from './serve-instance.ts';
import {
  type FromWorker,
  isMessage,
  type Listening,
  type Sources,
  type ToWorker,
  WORKER_VARIABLE,
} from './worker-messages.ts';

/** Milliseconds that a worker has for what it counted. */
const METRICS_TIME = 1_000;
/** Milliseconds that it has for new settings: its interceptors may have to get ready. */
const RELOAD_TIME = 15_000;
/** Milliseconds besides those of --drain until workers that do not end are killed. */
const END_TIME = 15_000;
/** One that has served for as long has not failed to start. */
const SETTLED = 10_000;
/** Milliseconds until a worker follows one that has not settled; twice as long each time. */
const FIRST_PAUSE = 100;
const LAST_PAUSE = 10_000;
/** Workers in a row that never got ready, while no other one serves. */
const MOST_FAILURES = 8;

interface Member {
  worker: Worker;
  name: string;
  state: 'starting' | 'ready';
  /** When it got ready, on the monotonic clock. */
  since: number;
  /** By which settings it runs. */
  version: number;
  failure: { message: string; status: number } | undefined;
}

export interface WorkersParts {
  count: number;
  /** Workers are called so, with `-1`, `-2` … behind it. */
  name: string;
  sources: Sources;
  demoToken: string;
  listening: Listening;
  output: LogOutput;
}

export class Workers {
  readonly #parts: WorkersParts;
  readonly #members = new Set<Member>();
  /** Also of those that have ended. */
  readonly #counted = new ProcessMetrics();
  readonly #pauses = new Set<NodeJS.Timeout>();
  /** What was asked of workers, by its number. */
  readonly #asked = new Map<number, { of: Member; answer: (said: FromWorker | 'gone') => void }>();
  #sources: Sources;
  #version = 0;
  #lastId = 0;
  #started = 0;
  #failures = 0;
  /** Milliseconds until the next one starts. */
  #pauseTime = 0;
  #status = 0;
  #failed: { status: number; message: string } | undefined;
  #isWhole = false;
  #isEnding = false;
  #settle!: { ready(places: Places): void; over(end: { status: number; message?: string }): void };
  /** Resolves when all are up. */
  readonly ready: Promise<Places>;
  /** Resolves when there is none any more, and none to come. */
  readonly over: Promise<{ status: number; message?: string }>;

  constructor(parts: WorkersParts) {
    this.#parts = parts;
    this.#sources = parts.sources;
    let ready!: (places: Places) => void;
    this.ready = new Promise((resolve) => {
      ready = resolve;
    });
    this.over = new Promise((over) => {
      this.#settle = { ready, over };
    });
    // In turn: where workers take connections by themselves, the one that is awake gets most of them.
    cluster.schedulingPolicy = cluster.SCHED_RR;
    for (let i = 0; i < parts.count; i++) this.#start();
  }

  /**
   * All go on by the settings of these files, or none does.
   *
   * @throws {Error} naming the worker that can't, and why
   */
  async reload(files: Sources['now']): Promise<void> {
    for (const isTrial of [true, false]) {
      const asked = [...this.#members].filter(({ state }) => state === 'ready');
      // Whoever is on the way up is given them when he is there.
      if (!isTrial) {
        this.#sources = { ...this.#sources, now: files };
        this.#version++;
      }
      await Promise.all(asked.map((member) => this.#reload(member, files, isTrial)));
    }
  }

  async #reload(member: Member, files: Sources['now'], isTrial: boolean): Promise<void> {
    const version = this.#version;
    const answer = await this.#ask(member, RELOAD_TIME, (id) => ({ type: 'reload', id, files, isTrial }));
    // Its successor begins with them.
    if (answer === 'gone') return;
    const problem = answer === 'silent' ? 'it does not answer' : (answer as { problem?: string }).problem;
    if (problem === undefined) {
      if (!isTrial) member.version = version;
      return;
    }
    if (isTrial) throw new Error(answer === 'silent' ? `${member.name}: ${problem}` : problem);
    // The others have them. One that has not is none of them.
    const text = `${member.name} could not take the settings anew (${problem}) and is replaced`;
    this.#parts.output.log('error', text, { event: 'worker-replaced', worker: member.name });
    member.worker.process.kill('SIGKILL');
  }

  /** What all have counted, together; of those that do not answer in time, what they said last, and that they don't. */
  async metrics(): Promise<Family[]> {
    const members = [...this.#members].filter(({ state }) => state === 'ready');
    let silent = 0;
    await Promise.all(
      members.map(async (member) => {
        const answer = await this.#ask(member, METRICS_TIME, (id) => ({ type: 'metrics?', id }));
        if (answer === 'silent') silent++;
        // What one has counted that has ended meanwhile is added already.
        else if (typeof answer !== 'string' && this.#members.has(member)) {
          this.#counted.tell(member.name, (answer as { families: Family[] }).families);
        }
      }),
    );
    return [
      ...this.#counted.families(),
      gauge('tidings_workers', 'Worker processes that there should be.', this.#parts.count),
      gauge('tidings_workers_ready', 'Worker processes that serve.', members.length),
      gauge(
        'tidings_workers_silent',
        'Worker processes that serve, but did not answer in time: their numbers are those of before.',
        silent,
      ),
    ];
  }

  /** All at the same time, each within its --drain. @param drain milliseconds */
  end(drain: number): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    for (const pause of this.#pauses) clearTimeout(pause);
    this.#pauses.clear();
    for (const member of this.#members) this.#tell(member, { type: 'drain' });
    setTimeout(() => {
      for (const { name, worker } of this.#members) {
        this.#parts.output.log('error', `${name} does not end, and is killed`, {
          event: 'worker-killed',
          worker: name,
        });
        worker.process.kill('SIGKILL');
      }
    }, drain + END_TIME).unref();
    this.#lookAround();
  }

  /** At once, whatever becomes of pages. */
  kill(): void {
    this.#isEnding = true;
    for (const { worker } of this.#members) worker.process.kill('SIGKILL');
  }

  #start(): void {
    const { name: base, output } = this.#parts;
    const name = `${base}-${++this.#started}`;
    const worker = cluster.fork({ [WORKER_VARIABLE]: name });
    const member: Member = {
      worker,
      name,
      state: 'starting',
      since: 0,
      version: this.#version,
      failure: undefined,
    };
    this.#members.add(member);
    worker.on('error', (error) => {
      output.log('warn', `${name}: ${error.message}`, { event: 'worker-unreached', worker: name });
    });
    worker.on('message', (message: unknown) => {
      if (isMessage(message)) this.#hear(member, message as unknown as FromWorker);
    });
    worker.once('exit', (code, signal) => this.#gone(member, code, signal));
  }

  #hear(member: Member, message: FromWorker): void {
    if (message.type === 'started') {
      const { demoToken, listening } = this.#parts;
      member.version = this.#version;
      this.#tell(member, { type: 'start', sources: this.#sources, demoToken, listening });
      if (this.#isEnding) this.#tell(member, { type: 'drain' });
    } else if (message.type === 'failed') member.failure = message;
    else if (message.type === 'ready') this.#up(member, message.places);
    else if (message.type === 'metrics-of-all?') {
      void this.metrics().then((families) =>
        this.#tell(member, { type: 'metrics-of-all', id: message.id, families }),
      );
    } else this.#asked.get(message.id)?.answer(message);
  }

  #up(member: Member, places: Places): void {
    member.state = 'ready';
    member.since = performance.now();
    this.#failures = 0;
    // It has begun with settings that are not those of now any more.
    if (member.version !== this.#version) void this.#reload(member, this.#sources.now, false);
    if (this.#isWhole) {
      this.#tell(member, { type: 'all-ready' });
      this.#parts.output.log('info', `${member.name} serves`, { event: 'worker-ready', worker: member.name });
      return;
    }
    const states = [...this.#members].map(({ state }) => state);
    if (states.length < this.#parts.count || states.includes('starting')) return;
    this.#isWhole = true;
    for (const each of this.#members) this.#tell(each, { type: 'all-ready' });
    this.#settle.ready(places);
  }

  #gone(member: Member, code: number | null, signal: string | null): void {
    this.#members.delete(member);
    this.#counted.ended(member.name);
    for (const { of, answer } of this.#asked.values()) if (of === member) answer('gone');
    const { name, state, failure, since } = member;
    const how = failure?.message ?? (signal === null ? `status ${code}` : String(signal));
    if (this.#isEnding) {
      if (code !== 0) this.#status = 1;
      this.#lookAround();
      return;
    }
    const hasSettled = state === 'ready' && performance.now() - since >= SETTLED;
    if (state === 'starting') this.#failures++;
    const isHopeless =
      this.#failures >= MOST_FAILURES && ![...this.#members].some((each) => each.state === 'ready');
    if ((!this.#isWhole && state === 'starting') || isHopeless) {
      // What is wrong with the first one is wrong with all of them.
      this.#failed = {
        status: failure?.status ?? 1,
        message: failure?.message ?? `${name} could not start: ${how}`,
      };
      this.kill();
      this.#lookAround();
      return;
    }
    if (hasSettled) this.#pauseTime = 0;
    const pause = this.#pauseTime;
    this.#pauseTime = pause === 0 ? FIRST_PAUSE : Math.min(2 * pause, LAST_PAUSE);
    this.#parts.output.log(
      code === 0 ? 'info' : 'error',
      `${name} has ended (${how}); another one ${pause === 0 ? 'comes' : `comes in ${pause} ms`}`,
      { event: 'worker-gone', worker: name },
    );
    const timer = setTimeout(() => {
      this.#pauses.delete(timer);
      this.#start();
    }, pause);
    this.#pauses.add(timer);
  }

  #lookAround(): void {
    if (!this.#isEnding || this.#members.size > 0) return;
    this.#settle.over(this.#failed ?? { status: this.#status });
  }

  #tell({ worker }: Member, message: ToWorker): void {
    if (!worker.isConnected()) return;
    worker.process.send({ of: 'tidings', ...message }, undefined, undefined, () => {});
  }

  /** What it answers; `gone` if it ends before, `silent` if it takes longer. */
  async #ask(
    member: Member,
    milliseconds: number,
    question: (id: number) => ToWorker,
  ): Promise<FromWorker | 'gone' | 'silent'> {
    const id = ++this.#lastId;
    const answer = new Promise<FromWorker | 'gone'>((resolve) => {
      this.#asked.set(id, { of: member, answer: resolve });
    });
    this.#tell(member, question(id));
    const said = await within(milliseconds, answer);
    this.#asked.delete(id);
    return said ?? 'silent';
  }
}
