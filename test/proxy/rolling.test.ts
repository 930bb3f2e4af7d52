/**
 * A rolling deploy behind the proxies of deploy/: each instance in turn is told to end and replaced, while mail is sent
 * to every page all the time. Nothing is lost, and nobody waits.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import { Client, webSocketTransport } from '../../src/client/index.ts';
import { sockJsTransport } from '../../src/client/sockjs-transport.ts';
import { PushServer, queryUser, redisBroker } from '../../src/index.ts';
import { tidings } from '../support/cli.ts';
import { freePort, until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';
import { startProxy } from './proxies.ts';

/** Milliseconds between two messages for a page. */
const PACE = 100;
/** Milliseconds for which a page may wait longer than one whose instance stays. */
const WAIT = 2_000;

const WAYS = {
  WebSocket: webSocketTransport(WebSocket as never),
  'SockJS, streaming': sockJsTransport(undefined, 'xhr_streaming'),
  'SockJS, polling': sockJsTransport(undefined, 'xhr'),
};

interface Page {
  name: string;
  received: number[];
  /** The longest that a message was on its way, in milliseconds. */
  longest: number;
}

function open(
  t: TestContext,
  name: string,
  url: string,
  transport = WAYS.WebSocket,
): Page & { client: Client } {
  const page = { name, received: [] as number[], longest: 0 };
  const client = new Client({ url, user: name, userParameter: 'user', transport, connectTimeout: 60_000 });
  t.after(() => client.close());
  client.on('message', ({ data }) => {
    const { number, at } = data as { number: number; at: number };
    page.received.push(number);
    page.longest = Math.max(page.longest, performance.now() - at);
  });
  return Object.assign(page, { client });
}

for (const name of ['nginx', 'haproxy'] as const) {
  describe(`a rolling deploy behind ${name}`, needs(name, 'redis'), () => {
    test('keeps every page within two seconds of its mail, and loses nothing', {
      timeout: 180_000,
    }, async (t) => {
      const redis = await startRedis();
      t.after(() => redis.stop());
      const ports = [await freePort(), await freePort()];
      const start = async (port: number): Promise<ReturnType<typeof tidings>> => {
        const program = tidings(t, [
          ...['serve', '--redis', redis.url, '--port', String(port), '--policy-port', 'off'],
          ...['--query-user', 'user', '--proxies', '127.0.0.1', '--drain', '1500'],
        ]);
        await program.line(/listening on (http:)/);
        return program;
      };
      const instances = await Promise.all(ports.map(start));

      // One that stays, beside the proxy: what its page waits is this machine's own slowness.
      const steady = new PushServer({
        port: 0,
        broker: redisBroker(redis.url),
        interceptors: [queryUser('user')],
        log: () => {},
      });
      await steady.ready;
      t.after(() => steady.close());
      const { port } = steady.address() as AddressInfo;
      const control = open(t, 'control', `ws://127.0.0.1:${port}/socketServer`);

      const proxy = await startProxy(name, { targets: ports });
      t.after(() => proxy.stop());
      const url = `http://127.0.0.1:${proxy.port}/socketServer`;
      await until('the way through', async () => {
        const answer = await fetch(`http://127.0.0.1:${proxy.port}/readyz`).catch(() => undefined);
        return answer?.status === 200;
      });
      const pages = Object.entries(WAYS).flatMap(([way, transport]) =>
        Array.from({ length: 4 }, (_, i) => open(t, `${way} ${i}`, url, transport)),
      );
      const all = [...pages, control];
      await until('all pages', () => all.every(({ client }) => client.state.name === 'connected'), 60_000);

      let number = 0;
      const sending = setInterval(() => {
        number++;
        const data = { number, at: performance.now() };
        for (const page of all) void steady.send(page.name, data);
      }, PACE);
      t.after(() => clearInterval(sending));

      // Where the machine is busy for seconds nobody can be in time: then another deploy must do.
      let late: string[] = [];
      for (let deploy = 0; deploy === 0 || (late.length > 0 && deploy < 3); deploy++) {
        for (const page of all) page.longest = 0;
        for (const [i, instance] of instances.entries()) {
          instance.process.kill('SIGTERM');
          assert.equal(await instance.status(), 0);
          instances[i] = await start(ports[i]!);
          // Who sends nobody there before its check sends somebody now.
          const since = number;
          await until('more mail', () => number > since + 20);
        }
        const sofar = number;
        await until('mail', () => all.every(({ received }) => received.length >= sofar), 60_000);
        late = pages
          .filter(({ longest }) => longest > WAIT + control.longest)
          .map(
            ({ name: who, longest }) => `${who} waited ${longest} ms, and who stayed ${control.longest} ms`,
          );
      }
      clearInterval(sending);
      const sent = Array.from({ length: number }, (_, i) => i + 1);
      await until('all mail', () => all.every(({ received }) => received.length >= number), 60_000);
      for (const { name: who, received } of all) assert.deepEqual(received, sent, who);
      assert.deepEqual(late, []);
      t.diagnostic(
        `waited at most: ${pages.map(({ name: who, longest }) => `${who} ${Math.round(longest)} ms`).join(', ')}`,
      );
    });

    test('lets in at once who comes while an instance ends', async (t) => {
      const ports = [await freePort(), await freePort()];
      const [ending] = await Promise.all(
        ports.map(async (port) => {
          const args = [
            '--port',
            String(port),
            '--policy-port',
            'off',
            '--query-user',
            'user',
            '--drain',
            '60000',
          ];
          const program = tidings(t, ['serve', ...args, '--proxies', '127.0.0.1']);
          await program.line(/listening on (http:)/);
          return program;
        }),
      );
      const proxy = await startProxy(name, { targets: ports });
      t.after(() => proxy.stop());
      const status = async (port: number): Promise<number | undefined> =>
        (await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined))?.status;
      await until('the way through', async () => (await status(proxy.port)) === 200);
      const pages = Array.from(
        { length: 50 },
        () => new WebSocket(`ws://127.0.0.1:${ports[0]}/socketServer?user=old`),
      );
      t.after(() => {
        for (const page of pages) page.terminate();
      });
      for (const page of pages) page.on('error', () => {});
      await until('old pages', () => pages.every(({ readyState }) => readyState === WebSocket.OPEN));
      ending!.process.kill('SIGTERM');
      await until('the end to begin', async () => (await status(ports[0]!)) === 503);
      for (let i = 0; i < 8; i++) {
        const page = new WebSocket(`ws://127.0.0.1:${proxy.port}/socketServer?user=new`);
        t.after(() => page.terminate());
        // Fails where the proxy hands the refusal on.
        await once(page, 'open');
      }
      assert.equal(await status(ports[0]!), 503);
    });
  });
}
