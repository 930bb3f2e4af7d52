/** The runner finds defects: each switch of the broken server fails the cases that are about it, and only those. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outcomeOf, runAll, selectCases } from '../../src/check/index.ts';
import { type Defect, defects, startBrokenServer } from './broken-server.ts';

/** The cases that must not pass. A case of `stillPasses` is run as well, and must. */
const table: Record<Defect, { fails: string; stillPasses?: string }> = {
  'accepts unmasked frames': { fails: 'T.1,T.2' },
  'ignores reserved bits': { fails: '3.1,3.2,3.3,3.4,3.5,3.6,T.11' },
  'ignores reserved opcodes': { fails: '4.1.*,4.2.*' },
  'accepts long control frames': { fails: '2.5,7.3.6' },
  'accepts fragmented control frames': { fails: '5.1', stillPasses: '2.2' },
  'accepts a continuation of nothing': { fails: '5.9,5.10,5.11,5.17', stillPasses: '5.3,5.18' },
  'accepts a new message inside a fragmented one': { fails: '5.18', stillPasses: '5.3,5.6' },
  'accepts long length forms': { fails: 'T.3,T.4,T.5' },
  'reads 64-bit lengths as 32-bit': { fails: 'T.7', stillPasses: '1.1.7' },
  'waits for whatever a length claims': { fails: 'T.6,T.7', stillPasses: '1.1.7' },
  'ignores what does not inflate': { fails: 'T.12', stillPasses: 'T.15' },
  'refuses close codes that came after the RFC': { fails: 'T.21,T.22,T.23', stillPasses: '7.7.9' },
  'accepts invalid UTF-8': { fails: '6.3.*,6.4.*,6.8.*,6.12.*,6.20.*', stillPasses: '6.2.*,6.7.*' },
  'checks UTF-8 only at the end': { fails: '6.4.*', stillPasses: '6.3.*,6.20.*' },
  'checks UTF-8 in each fragment by itself': { fails: '6.2.3,6.2.4,T.8', stillPasses: '6.2.1,6.2.2' },
  'echoes a wrong pong payload': { fails: '2.2,2.3,2.4,2.6,2.9,2.10,5.6', stillPasses: '2.1' },
  'sends no pongs': { fails: '2.1,2.2,2.10,5.6,5.19' },
  'answers pongs with pongs': { fails: '2.7,2.8,2.9', stillPasses: '2.2' },
  'answers pings after the message': { fails: '5.6,5.7,5.8,5.19,5.20', stillPasses: '2.2' },
  'pongs only the last ping': { fails: '2.10', stillPasses: '2.2' },
  'accepts invalid close codes': { fails: '7.9.*,T.24', stillPasses: '7.7.*' },
  'refuses the codes of applications': { fails: '7.7.10,7.7.11,7.7.12,7.7.13', stillPasses: '7.7.1,7.7.2' },
  'accepts a close payload of one octet': { fails: '7.3.2', stillPasses: '7.3.1,7.3.3' },
  'accepts close reasons that are not UTF-8': { fails: '7.5.1', stillPasses: '7.3.4' },
  'answers a close with a wrong code': { fails: '1.1.2,7.1.1,7.1.2,7.3.3,7.7.1', stillPasses: '7.7.2' },
  'answers a close without a close': { fails: '1.1.2,7.1.1,7.3.1,7.7.1' },
  'answers a close late': { fails: '1.1.2,7.1.1,7.3.1,7.7.1' },
  'leaves the TCP connection open': { fails: '1.1.2,7.1.1,7.3.1,7.7.1' },
  'answers pings after a close': { fails: '7.1.3', stillPasses: '7.1.4' },
  'echoes messages after a close': { fails: '7.1.4', stillPasses: '7.1.3' },
  'fails with a wrong code': { fails: '2.5,3.1,4.1.1,5.1,6.3.1,7.9.1', stillPasses: '7.3.1' },
  'drops what it echoed before failing': { fails: '3.2,4.1.3,5.15', stillPasses: '3.1' },
  'masks its frames': { fails: '1.1.1,2.1,7.1.1', stillPasses: '7.13.1' },
  'writes long length forms': { fails: '1.1.1,2.2', stillPasses: '7.13.1' },
  'sets reserved bits': { fails: '1.1.1,2.1,7.3.1' },
  'echoes text as binary': { fails: '1.1.1,5.3,6.2.1,9.1.1,12.1.1', stillPasses: '1.2.1' },
  'cuts messages at 65535 octets': { fails: '1.1.7,1.1.8,1.2.7,9.1.1,9.2.1,10.1.1', stillPasses: '1.1.6' },
  'swaps octets across chunks': { fails: '1.1.8', stillPasses: '1.1.2' },
  'echoes fragments as messages': { fails: '5.3,5.6,6.2.2,9.3.7', stillPasses: '1.1.2' },
  'answers with a wrong key': { fails: '1.1.1,7.1.1' },
  'answers deflate that was not offered': { fails: '1.1.1', stillPasses: '12.1.1' },
  'compresses without RSV1': { fails: '12.1.1,12.2.1,T.14', stillPasses: '1.1.2' },
  'compresses with a context it promised to reset': { fails: '13.2.3,13.5.4', stillPasses: '13.1.3' },
  'compresses with a larger window than promised': { fails: '13.3.6,13.5.6', stillPasses: '13.1.3' },
  'forgets the context of the client': { fails: '12.1.3,13.1.3,T.17', stillPasses: 'T.15' },
  'accepts RSV1 on continuations': { fails: 'T.9', stillPasses: 'T.10,T.16' },
  'never agrees on deflate': { fails: '12.1.1,13.1.1', stillPasses: '1.1.2' },
};

const options = { agent: 'broken', patience: 1, parallel: 8 };

test('a server without defects passes the cases that the defects fail', { timeout: 600_000 }, async () => {
  const server = await startBrokenServer();
  const ids = Object.values(table).flatMap(({ fails, stillPasses }) =>
    `${fails},${stillPasses ?? fails}`.split(','),
  );
  const results = await runAll(selectCases(ids), server.url, { ...options, patience: 30 });
  await server.close();
  const others = results.filter((result) => outcomeOf(result) !== 'passed');
  assert.deepEqual(
    others.map(({ id, behavior, behaviorClose, result, resultClose }) => [
      id,
      behavior,
      behaviorClose,
      result,
      resultClose,
    ]),
    [],
  );
});

test('each of more than twenty defects fails its cases', { concurrency: 64, timeout: 600_000 }, async (t) => {
  assert.ok(defects.length > 20);
  await Promise.all(
    defects.map((defect) =>
      t.test(`a server that ${defect}`, async () => {
        const { fails, stillPasses } = table[defect];
        const server = await startBrokenServer(defect);
        const failing = await runAll(selectCases(fails.split(',')), server.url, options);
        const passing = stillPasses
          ? await runAll(selectCases(stillPasses.split(',')), server.url, { ...options, patience: 30 })
          : [];
        await server.close();
        const wronglyPassed = failing.filter((result) => outcomeOf(result) === 'passed');
        assert.deepEqual(
          wronglyPassed.map(({ id }) => id),
          [],
          'these should not have passed',
        );
        const wronglyFailed = passing.filter((result) => outcomeOf(result) !== 'passed');
        assert.deepEqual(
          wronglyFailed.map(({ id, result, resultClose }) => `${id}: ${result} ${resultClose}`),
          [],
          'these should have passed',
        );
      }),
    ),
  );
});
