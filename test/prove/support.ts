/** Runs of `prove` as tests have them: short, and quiet. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type FaultKind, faultKinds, type ProveSettings, prove, type Result } from '../../src/prove/index.ts';

/** All faults but those of processes. */
export const connections: ReadonlySet<FaultKind> = new Set(
  faultKinds.filter((kind) => !['kill', 'restart', 'freeze'].includes(kind)),
);

export function proven(
  settings: Partial<ProveSettings> & { urls: string[]; adapter: string },
): Promise<Result> {
  return prove({
    send: undefined,
    token: undefined,
    secret: undefined,
    userParameter: 'operator',
    settings: {},
    users: 4,
    pages: 2,
    time: 2,
    interval: 5,
    size: 120,
    seed: 7,
    kinds: new Set(faultKinds),
    away: 0,
    patience: 30,
    run: [],
    allowKill: [],
    allowFreeze: [],
    restart: undefined,
    signal: new AbortController().signal,
    say: () => {},
    ...settings,
  });
}

/** The address of a server that listens from now on, on any free port. */
export async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

/** A result with one of everything. */
export const sample: Result = {
  tool: 'tidings prove',
  adapter: '<b>mine</b>',
  urls: ['http://127.0.0.1:1/'],
  started: '2026-01-01T00:00:00.000Z',
  seconds: 10,
  seed: 42,
  run: 'r',
  users: 1,
  pages: 2,
  messages: { accepted: 1234, repeated: 2, unanswered: 3 },
  toBeSeen: 2468,
  lost: 1,
  duplicated: 0,
  reordered: 0,
  told: { times: 1, messages: 4, inVain: 1 },
  resent: 0,
  misdelivered: 0,
  damaged: 0,
  notBack: [],
  recovery: { times: 1, median: 20, p99: 30, longest: 40 },
  faults: [{ kind: 'half', times: 1, pages: 2, lost: 1, duplicated: 0, reordered: 0 }],
  crashes: [{ name: 'node', times: 1 }],
  findings: [
    { what: 'lost', page: 'page 1 of prove-r-1', n: 7, at: 1500, near: { kind: 'half', before: 12 } },
    { what: 'told in vain', page: 'page 2 of prove-r-1', n: 9, at: 1600 },
  ],
  isInterrupted: false,
  failures: ['1 lost', '1 time told that something is missing where nothing was'],
  verdict: 'failed',
  timeline: {
    pages: ['page 1 of prove-r-1', 'page 2 of prove-r-1'],
    faults: [
      { kind: 'half', from: 1488, to: 1490, pages: [0, 1] },
      { kind: 'kill', from: 3000, to: 3500, pages: [0, 1], victim: 'node "x"' },
    ],
  },
};
