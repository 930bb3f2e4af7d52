/** The listening side keeps to the addresses that drivers for the Autobahn suite know. */
import assert from 'node:assert/strict';
import { createConnection } from 'node:net';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { type CaseResult, FuzzingServer, selectCases } from '../../src/check/index.ts';

async function listen(t: { after(done: () => Promise<void>): void }, ...patterns: string[]) {
  const server = new FuzzingServer({ port: 0, cases: selectCases(patterns), patience: 30 });
  t.after(() => server.close());
  const { port } = await server.listen();
  return { server, port, address: `ws://127.0.0.1:${port}` };
}

/** Echoes until the connection is closed; resolves with the last message. */
function echo(address: string): Promise<string> {
  const socket = new WebSocket(address);
  let last = '';
  socket.on('message', (data, isBinary) => {
    last = data.toString();
    socket.send(data, { binary: isBinary });
  });
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('close', () => resolve(last));
  });
}

test('a driver counts the cases, asks what they are, runs them and asks for the report', async (t) => {
  const { server, address } = await listen(t, '1.1.2', '2.2', '7.7.1');
  const reports: [string, CaseResult[]][] = [];
  server.on('report', (agent, results) => reports.push([agent, results]));
  assert.equal(await echo(`${address}/getCaseCount`), '3');
  assert.deepEqual(JSON.parse(await echo(`${address}/getCaseInfo?case=2`)), {
    id: '2.2',
    description: 'Sends a ping with a text payload.',
  });
  // Asked before the case has run, the status waits for it.
  const status = echo(`${address}/getCaseStatus?case=1&agent=driver`);
  for (const number of [1, 2]) await echo(`${address}/runCase?case=${number}&agent=driver`);
  await echo(`${address}/runCase?casetuple=7.7.1&agent=driver`);
  assert.deepEqual(JSON.parse(await status), { behavior: 'OK' });
  await echo(`${address}/updateReports?agent=driver`);
  assert.equal(reports.length, 1);
  const [agent, results] = reports[0]!;
  assert.equal(agent, 'driver');
  assert.deepEqual(
    results.map(({ case: number, id, behavior, behaviorClose }) => [number, id, behavior, behaviorClose]),
    [
      [1, '1.1.2', 'OK', 'OK'],
      [2, '2.2', 'OK', 'OK'],
      [3, '7.7.1', 'OK', 'OK'],
    ],
  );
});

test('a client that does not echo fails its case', async (t) => {
  const { server, address } = await listen(t, '1.1.2');
  const socket = new WebSocket(`${address}/runCase?case=1&agent=silent`);
  socket.on('message', () => socket.close(1000));
  await new Promise((resolve) => socket.on('close', resolve));
  const [result] =
    server.resultsOf('silent').length > 0 ? server.resultsOf('silent') : await nextResult(server);
  assert.equal(result?.behavior, 'FAILED');
  assert.equal(result.behaviorClose, 'FAILED');
  assert.match(result.resultClose, /The peer closed the connection, not the runner/);
});

async function nextResult(server: FuzzingServer): Promise<CaseResult[]> {
  return new Promise((resolve) => server.once('result', (result) => resolve([result])));
}

test('a client that offers no permessage-deflate leaves the compression cases unimplemented', async (t) => {
  const { server, address } = await listen(t, '12.1.1');
  const socket = new WebSocket(`${address}/runCase?case=1&agent=plain`, { perMessageDeflate: false });
  const result = nextResult(server);
  await new Promise((resolve) => socket.on('close', resolve));
  assert.equal((await result)[0]?.behavior, 'UNIMPLEMENTED');
});

test('what is no case, no agent, no address or no upgrade is refused with 400 and the reason', async (t) => {
  const { address, port } = await listen(t, '1.1.1');
  const refusals: [string, RegExp][] = [
    ['/runCase?case=2&agent=a', /400/],
    ['/runCase?case=1', /400/],
    ['/nothing', /400/],
  ];
  for (const [path, message] of refusals) await assert.rejects(echo(address + path), message, path);
  const answer = await new Promise<string>((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' });
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('close', () => resolve(text));
    socket.write('GET /getCaseCount HTTP/1.1\r\nHost: localhost\r\n\r\n');
  });
  assert.match(answer, /^HTTP\/1\.1 400 /);
  assert.match(answer, /no «Upgrade: websocket»/);
});
