/**
 * The conformance runner as `tidings check` and `npm run conformance` use it: against a server, or listening for
 * clients; then a table, JSON, and a report in a folder.
 */
import { allCases, isOfAutobahn, selectCases } from './cases/index.ts';
import { framesOf } from './frames-text.ts';
import { dial as dialByUpgrade } from './handshake.ts';
import { statusOf } from './interrupt.ts';
import { FuzzingServer } from './listener.ts';
import { type NotRun, notRun } from './not-run.ts';
import { Progress, type ProgressStream } from './progress.ts';
import { quickPatterns } from './quick-patterns.ts';
import { writeReport } from './report.ts';
import { type CaseResult, runAll, whenAborted } from './runner.ts';
import { Streams } from './streams.ts';
import { outcomeOf, summarize, summaryLine, table } from './summary.ts';

export { allCases, cases, isOfAutobahn, selectCases } from './cases/index.ts';
export { interruptible, statusOf } from './interrupt.ts';
export { FuzzingServer } from './listener.ts';
export { notRun } from './not-run.ts';
export { Progress } from './progress.ts';
export { quickPatterns } from './quick-patterns.ts';
export { type CaseResult, runAll } from './runner.ts';
export { outcomeOf, type Summary, summarize, summaryLine, table } from './summary.ts';

export interface CheckSettings {
  /** Which cases, as `7.*` or `9.1.6`. Default: all. */
  patterns?: string[];
  /** Only the groups that take seconds. Default false. */
  isShort?: boolean;
  /** How many at a time. Default 8. */
  parallel?: number;
  /** Factor on all time limits, for slow machines and networks. The Autobahn suite's are 1. Default 5. */
  patience?: number;
  /** How many messages each compression case sends. Default 1000, as in the Autobahn suite. */
  messages?: number | undefined;
  /** Folder for index.json, index.html and a file per case. Default: none is written. */
  outdir?: string | undefined;
  /** Whether the output is JSON, one line for each role, instead of a table. Default false. */
  json?: boolean;
  /** Whether everything must pass, so that non-strict and unimplemented cases fail the check, too. Default false. */
  isStrict?: boolean;
  /** Whether the frames of each case that did not pass are shown. Default false. */
  frames?: boolean;
  /** The peer's name in the report. Default: its address. */
  agent?: string;
  /** On streams of HTTP/2 (RFC 8441), those to a server on one session. Default false. */
  http2?: boolean;
  /** Where progress is shown, such as `process.stderr`. With JSON it also takes what is no result. Default: nowhere. */
  progress?: ProgressStream | undefined;
  /** Aborted, the check ends with what it has; see `interruptible`. */
  signal?: AbortSignal | undefined;
  /** Takes the output. */
  write(text: string): void;
}

export function chosenCases({ patterns, isShort }: CheckSettings): ReturnType<typeof selectCases> {
  if (patterns) return selectCases(patterns);
  return isShort ? selectCases(quickPatterns) : allCases;
}

/** Says what is no result; with JSON not among the results, so that these can be parsed. */
function tell({ json, progress, write }: CheckSettings, line: string): void {
  if (json) progress?.write(`${line}\n`);
  else write(`${line}\n`);
}

/**
 * Prints what a peer achieved, ending in a line like `server ws: 517 cases: 517 passed, 0 failed`, and writes
 * the report. `rest` is what was not run, where the check was interrupted.
 *
 * @returns the exit status: 1 where a case failed.
 */
export function conclude(
  role: 'server' | 'client',
  agent: string,
  results: CaseResult[],
  settings: CheckSettings,
  rest?: NotRun,
): number {
  const { json, outdir, isStrict, frames, write } = settings;
  const bad = results.filter((result) => ['failed', 'nonStrict'].includes(outcomeOf(result)));
  const beyond = results.filter((result) => !isOfAutobahn(result));
  const whole = summarize(results);
  const page = outdir === undefined ? undefined : writeReport(outdir, results, rest?.shortly);
  if (json) {
    const verdicts = results.map((each) => {
      const { id, behavior, behaviorClose, duration, result, resultClose, waits, wirelog } = each;
      const verdict = { id, behavior, behaviorClose, duration, result, resultClose, waits };
      return frames && bad.includes(each) ? { ...verdict, wirelog } : verdict;
    });
    const interrupted = rest && { notRun: rest.ids, cut: rest.cut };
    write(`${JSON.stringify({ role, agent, ...whole, interrupted, results: verdicts })}\n`);
  } else {
    write(`${table(results)}\n`);
    if (frames) for (const result of bad) write(`\n${framesOf(result)}\n`);
    const [first] = bad;
    if (first !== undefined && !frames && outdir === undefined) {
      const again = role === 'server' ? `--cases ${first.id} --frames shows those of one; ` : '';
      write(`to see the frames of cases: ${again}--outdir FOLDER writes a page for each\n`);
    }
    for (const { id, waitedFor } of rest?.cut ?? []) write(`${id}: cut off, waiting for ${waitedFor}\n`);
    if (beyond.length > 0) {
      write(`${role} ${agent}, beyond the Autobahn suite: ${summaryLine(summarize(beyond))}\n`);
    }
    if (beyond.length < results.length) {
      write(`${role} ${agent}: ${summaryLine(summarize(results.filter(isOfAutobahn)))}\n`);
    }
    if (rest) write(`interrupted: ${rest.ids.length} cases were not run: ${rest.shortly}\n`);
  }
  if (page !== undefined) tell(settings, `report: ${page}`);
  return whole.failed > 0 || (isStrict && whole.passed < whole.cases) ? 1 : 0;
}

/**
 * Runs the cases against the server at `address`, which must echo: text with text, binary with binary.
 *
 * @returns the exit status: 1 where a case failed, 128 and the signal's number where it was interrupted.
 * @throws where no WebSocket server answers there.
 */
export async function checkServer(address: string, settings: CheckSettings): Promise<number> {
  const url = new URL(address);
  const agent = settings.agent ?? url.host;
  const definitions = chosenCases(settings);
  const { parallel = 8, patience = 5, messages, signal } = settings;
  const streams = settings.http2 ? new Streams() : undefined;
  const dial = streams?.dial ?? dialByUpgrade;
  try {
    (await dial(url, undefined, 5000 * patience, signal)).socket.destroy();
  } catch (error) {
    streams?.close();
    if (!signal?.aborted) {
      const { message } = error as Error;
      throw new Error(`no WebSocket connection to ${address}: ${message}`, { cause: error });
    }
  }
  const progress = new Progress(agent, definitions, settings.progress);
  let rest = signal?.aborted ? notRun(definitions, progress) : undefined;
  // Before the connections of the cases under way are dropped.
  signal?.addEventListener('abort', () => {
    rest = notRun(definitions, progress);
  });
  const results = await runAll(definitions, url, {
    ...{ agent, parallel, patience, messages, signal, dial },
    onStart: (running) => progress.started(running),
    onResult: (result) => progress.finished(result),
  });
  progress.end();
  streams?.close();
  const status = conclude('server', agent, results, settings, rest);
  return rest && signal ? statusOf(signal) : status;
}

/**
 * Listens for clients that echo. They ask `/getCaseCount`, run `/runCase?case=N&agent=A` for each N from 1, and end
 * with `/updateReports?agent=A`, upon which their results are printed. Ends when `signal` is aborted, and then
 * prints the results of those that have not ended.
 *
 * @returns the exit status: 1 where a case failed, 128 and the signal's number where a client was interrupted.
 */
export async function checkClients(
  port: number,
  host: string,
  signal: AbortSignal,
  settings: CheckSettings,
): Promise<number> {
  const definitions = chosenCases(settings);
  const { patience = 5, messages, outdir, http2 } = settings;
  const server = new FuzzingServer({ port, host, cases: definitions, patience, messages, http2 });
  let status = 0;
  const reported = new Map<string, CaseResult[]>();
  const unreported = new Map<string, Progress>();
  const report = (agent: string, rest?: NotRun): void => {
    const results = server.resultsOf(agent);
    unreported.get(agent)?.end();
    unreported.delete(agent);
    reported.set(agent, results);
    status = Math.max(status, conclude('client', agent, results, { ...settings, outdir: undefined }, rest));
    if (outdir === undefined) return;
    tell(settings, `report: ${writeReport(outdir, [...reported.values()].flat(), rest?.shortly)}`);
  };
  const progressOf = (agent: string): Progress => {
    const progress = unreported.get(agent) ?? new Progress(agent, definitions, settings.progress);
    unreported.set(agent, progress);
    return progress;
  };
  server.on('start', (agent, running) => progressOf(agent).started(running));
  server.on('result', (result) => progressOf(result.agent).finished(result));
  server.on('report', (agent) => report(agent));
  const { port: actual } = await server.listen();
  const how = http2 ? ', HTTP/2 without TLS,' : '';
  tell(settings, `listening on ws://${host}:${actual}/${how} with ${definitions.length} cases`);
  await whenAborted(signal);
  for (const [agent, progress] of [...unreported]) {
    const rest = notRun(definitions, progress);
    report(agent, rest);
    if (rest) status = statusOf(signal);
  }
  server.removeAllListeners();
  await server.close();
  return status;
}
