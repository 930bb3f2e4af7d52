/** The verdicts themselves: what an endpoint SHOULD do is never judged like what it MUST do. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { encodeFrame, FrameParser, Opcode } from '../../src/check/frames.ts';
import {
  allCases,
  type CaseResult,
  FuzzingServer,
  isOfAutobahn,
  outcomeOf,
  runAll,
  selectCases,
} from '../../src/check/index.ts';
import { type Defect, startBrokenServer } from './broken-server.ts';

/** Seconds: longer than a pause of a busy machine, which is no defect of a server. */
const PATIENCE = 4;

/** By case, the two verdicts: on the behaviour and on the closing. */
async function verdictsOf(
  t: TestContext,
  patterns: string,
  ...defects: Defect[]
): Promise<Map<string, CaseResult>> {
  const server = await startBrokenServer(...defects);
  t.after(() => server.close());
  const options = { agent: 'server', patience: PATIENCE, parallel: 32, messages: 2 };
  const results = await runAll(selectCases(patterns.split(',')), server.url, options);
  return new Map(results.map((result) => [result.id, result]));
}

function shown(result: CaseResult): string {
  return `${result.behavior}, ${result.behaviorClose}`;
}

/** Runs a case as a client that echoes and answers a Close frame by `onClose`. */
async function runAsClient(
  t: TestContext,
  id: string,
  onClose: (socket: Socket) => void,
): Promise<CaseResult> {
  const server = new FuzzingServer({ port: 0, cases: selectCases([id]), patience: PATIENCE });
  t.after(() => server.close());
  const { port } = await server.listen();
  const result = once(server, 'result') as Promise<[CaseResult]>;
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  t.after(() => socket.destroy());
  socket.on('error', () => {});
  socket.write(
    `GET /runCase?case=1&agent=raw HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
  );
  const parser = new FrameParser({
    isMaskRequired: false,
    hasDeflate: false,
    onFrame({ opcode, payload }) {
      socket.write(encodeFrame({ opcode, payload, maskKey: Buffer.from('a1b2c3d4', 'hex') }));
      if (opcode === Opcode.close) onClose(socket);
    },
  });
  let head = '';
  socket.on('data', (chunk) => {
    if (head.endsWith('\r\n\r\n')) {
      parser.push(chunk);
      return;
    }
    head += chunk.toString('latin1');
    const end = head.indexOf('\r\n\r\n') + 4;
    if (end < 4) return;
    const rest = Buffer.from(head.slice(end), 'latin1');
    head = head.slice(0, end);
    parser.push(rest);
  });
  return (await result)[0];
}

/** What each leniency or strictness is called: by case, the verdicts and what they count as. */
const beyond: [defect: Defect | Defect[], verdicts: Record<string, string>][] = [
  [
    'accepts long length forms',
    { 'T.3': 'NON-STRICT, OK', 'T.4': 'NON-STRICT, OK', 'T.5': 'NON-STRICT, OK', 'T.6': 'OK, OK' },
  ],
  [
    'waits for whatever a length claims',
    { 'T.6': 'NON-STRICT, NON-STRICT', 'T.7': 'NON-STRICT, NON-STRICT' },
  ],
  [['reads 64-bit lengths as 32-bit', 'accepts long length forms'], { 'T.7': 'FAILED, OK' }],
  ['ignores what does not inflate', { 'T.12': 'NON-STRICT, OK' }],
  [
    'refuses close codes that came after the RFC',
    { 'T.21': 'OK, NON-STRICT', 'T.22': 'OK, NON-STRICT', 'T.23': 'OK, NON-STRICT', 'T.24': 'OK, OK' },
  ],
  ['answers a close with a wrong code', { 'T.21': 'OK, NON-STRICT', 'T.24': 'OK, OK' }],
  ['accepts unmasked frames', { 'T.1': 'FAILED, FAILED', 'T.2': 'FAILED, FAILED' }],
  ['accepts RSV1 on continuations', { 'T.9': 'FAILED, FAILED', 'T.10': 'OK, OK' }],
  ['ignores reserved bits', { 'T.9': 'FAILED, FAILED', 'T.10': 'FAILED, FAILED', 'T.11': 'FAILED, FAILED' }],
  ['accepts invalid close codes', { 'T.24': 'FAILED, NON-STRICT' }],
  ['answers pings after the message', { 'T.8': 'NON-STRICT, OK', 'T.16': 'NON-STRICT, OK' }],
  ['sends no pongs', { 'T.8': 'FAILED, WRONG CODE', 'T.16': 'FAILED, WRONG CODE' }],
  [
    'fails with a wrong code',
    Object.fromEntries([1, 2, 3, 6, 7, 9, 10, 11, 12, 13].map((i) => [`T.${i}`, 'OK, NON-STRICT'])),
  ],
];

// Side by side: most of them wait for that long.
describe('verdicts', { concurrency: true }, () => {
  test('§7.1.4: a closing is clean when Close frames went both ways, however late the server ends TCP', async (t) => {
    // One case of each way to end: by the case's own time limit, by the echo, by a Close frame of either side.
    const patterns = '1.1.2,2.2,2.5,2.10,5.3,5.19,6.2.1,6.5.1,7.1.1,7.1.5,7.3.1,7.7.1,9.7.1,12.1.1,T.8,T.21';
    const results = await verdictsOf(t, patterns, 'leaves the TCP connection open');
    assert.equal(results.size, 16);
    for (const [id, result] of results) {
      assert.equal(shown(result), 'OK, FAILED BY CLIENT', id);
      assert.equal(outcomeOf(result), 'nonStrict', id);
      assert.equal(result.ending.wasClean, true, id);
      assert.equal(result.ending.droppedByMe, true, id);
      assert.deepEqual(
        result.waits,
        [`${PATIENCE} s for the server to close the TCP connection (§7.1.1)`],
        id,
      );
    }
  });

  test('§5.5.1: no Close frame, or one that comes too late, is an unclean closing', async (t) => {
    for (const [defect, waits] of [
      ['answers a close without a close', []],
      ['answers a close late', [`${PATIENCE} s for the peer's Close frame`]],
    ] as [Defect, string[]][]) {
      for (const [id, result] of await verdictsOf(t, '1.1.2,5.3,7.3.1', defect)) {
        assert.equal(result.behaviorClose, 'UNCLEAN', `${id} of a server that ${defect}`);
        assert.equal(outcomeOf(result), 'failed', id);
        if (id === '5.3') assert.deepEqual(result.waits, waits, id);
      }
    }
  });

  test('§7.1.1: a client may end TCP first, at the same time, late or never: its closing is clean', async (t) => {
    const ways: [string, (socket: Socket) => void][] = [
      ['first', (socket) => socket.end()],
      ['after the server', (socket) => socket.once('end', () => socket.end())],
      ['never', () => {}],
      ['by a reset, after the server', (socket) => socket.once('end', () => socket.resetAndDestroy())],
    ];
    for (const [way, onClose] of ways) {
      for (const id of ['1.1.2', '7.7.1']) {
        const result = await runAsClient(t, id, onClose);
        assert.equal(shown(result), 'OK, OK', `${id}, TCP ended ${way}`);
        assert.equal(result.ending.wasClean, true);
      }
    }
  });

  for (const [defect, expected] of beyond) {
    const defects = [defect].flat();
    test(`beyond Autobahn, a server that ${defects.join(' and ')}`, async (t) => {
      const results = await verdictsOf(t, Object.keys(expected).join(), ...defects);
      const seen = Object.fromEntries([...results].map(([id, result]) => [id, shown(result)]));
      assert.deepEqual(seen, expected);
      for (const [id, result] of results) {
        const counts = expected[id]!.includes('FAILED') ? 'failed' : undefined;
        assert.equal(
          outcomeOf(result),
          counts ?? (expected[id]!.includes('NON-STRICT') ? 'nonStrict' : 'passed'),
        );
      }
    });
  }

  test('§7.1.7, §7.4.1: a code of the peer’s own choice is non-strict, as in the reports of Autobahn', async (t) => {
    for (const [id, result] of await verdictsOf(t, '3.1,5.1,6.3.1', 'fails with a wrong code')) {
      assert.equal(shown(result), 'OK, WRONG CODE', id);
      assert.equal(outcomeOf(result), 'nonStrict', id);
    }
    for (const [id, result] of await verdictsOf(t, '7.3.3', 'answers a close with a wrong code')) {
      assert.equal(shown(result), 'FAILED, WRONG CODE', id);
      assert.equal(outcomeOf(result), 'failed', id);
    }
  });

  test('what a case waited for in vain is said', async (t) => {
    const results = await verdictsOf(t, '2.2,6.5.1,7.7.1', 'sends no pongs');
    assert.deepEqual(results.get('2.2')?.waits, [`${2 * PATIENCE} s for the pong Hello, world!`]);
    assert.deepEqual(results.get('6.5.1')?.waits, []);
    const unmasked = await verdictsOf(t, 'T.2', 'accepts unmasked frames');
    assert.deepEqual(unmasked.get('T.2')?.waits, [`${PATIENCE} s for the peer to fail the connection`]);
  });

  test('each case beyond Autobahn says which clause decides it', () => {
    for (const { id, expectation } of allCases.filter((one) => !isOfAutobahn(one))) {
      assert.match(expectation, /§\d/, id);
    }
  });
});
