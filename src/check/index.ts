/**
 * The conformance runner as `tidings check` and `npm run conformance` use it: against a server, or listening for
 * clients; then a table, JSON, and a report in a folder.
 */
import { allCases, isOfAutobahn, selectCases } from './cases/index.ts';
import { dial } from './handshake.ts';
import { FuzzingServer } from './listener.ts';
import { quickPatterns } from './quick-patterns.ts';
import { writeReport } from './report.ts';
import { type CaseResult, runAll } from './runner.ts';
import { summarize, summaryLine, table } from './summary.ts';

export { allCases, cases, isOfAutobahn, selectCases } from './cases/index.ts';
export { FuzzingServer } from './listener.ts';
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
  /** The peer's name in the report. Default: its address. */
  agent?: string;
  /** Called after each case. */
  onProgress?: (done: number, total: number) => void;
  /** Takes the output. */
  write(text: string): void;
}

/** The exit status: 1 where the check failed. */
type Status = 0 | 1;

export function chosenCases({ patterns, isShort }: CheckSettings): ReturnType<typeof selectCases> {
  if (patterns) return selectCases(patterns);
  return isShort ? selectCases(quickPatterns) : allCases;
}

/**
 * Prints what a peer achieved, ending in a line like `server ws: 517 cases: 517 passed, 0 failed`, and writes
 * the report.
 */
export function conclude(
  role: 'server' | 'client',
  agent: string,
  results: CaseResult[],
  { json, outdir, isStrict, write }: CheckSettings,
): Status {
  const beyond = results.filter((result) => !isOfAutobahn(result));
  const whole = summarize(results);
  const page = outdir === undefined ? undefined : writeReport(outdir, results);
  if (json) {
    const verdicts = results.map(({ id, behavior, behaviorClose, duration, result, resultClose }) => ({
      id,
      behavior,
      behaviorClose,
      duration,
      result,
      resultClose,
    }));
    write(`${JSON.stringify({ role, agent, ...whole, results: verdicts })}\n`);
  } else {
    write(`${table(results)}\n`);
    if (page !== undefined) write(`report: ${page}\n`);
    if (beyond.length > 0) {
      write(`${role} ${agent}, beyond the Autobahn suite: ${summaryLine(summarize(beyond))}\n`);
    }
    if (beyond.length < results.length) {
      write(`${role} ${agent}: ${summaryLine(summarize(results.filter(isOfAutobahn)))}\n`);
    }
  }
  return whole.failed > 0 || (isStrict && whole.passed < whole.cases) ? 1 : 0;
}

/**
 * Runs the cases against the server at `address`, which must echo: text with text, binary with binary.
 *
 * @throws where no WebSocket server answers there.
 */
export async function checkServer(address: string, settings: CheckSettings): Promise<Status> {
  const url = new URL(address);
  const agent = settings.agent ?? url.host;
  const definitions = chosenCases(settings);
  const { parallel = 8, patience = 5, messages } = settings;
  try {
    (await dial(url, undefined, 5000 * patience)).socket.destroy();
  } catch (error) {
    throw new Error(`no WebSocket connection to ${address}: ${(error as Error).message}`);
  }
  let done = 0;
  const onResult = (): void => settings.onProgress?.(++done, definitions.length);
  const results = await runAll(definitions, url, { agent, parallel, patience, messages, onResult });
  return conclude('server', agent, results, settings);
}

/**
 * Listens for clients that echo. They ask `/getCaseCount`, run `/runCase?case=N&agent=A` for each N from 1, and end
 * with `/updateReports?agent=A`, upon which their results are printed. Ends when `signal` is aborted.
 */
export async function checkClients(
  port: number,
  host: string,
  signal: AbortSignal,
  settings: CheckSettings,
): Promise<Status> {
  const definitions = chosenCases(settings);
  const { patience = 5, messages } = settings;
  const server = new FuzzingServer({ port, host, cases: definitions, patience, messages });
  let status: Status = 0;
  const all = new Map<string, CaseResult[]>();
  server.on('report', (agent, results) => {
    all.set(agent, results);
    const outdir = settings.outdir;
    if (conclude('client', agent, results, { ...settings, outdir: undefined }) === 1) status = 1;
    if (outdir !== undefined) settings.write(`report: ${writeReport(outdir, [...all.values()].flat())}\n`);
  });
  const { port: actual } = await server.listen();
  settings.write(`listening on ws://${host}:${actual}/ with ${definitions.length} cases\n`);
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  await server.close();
  return status;
}
