/** The signers of examples/tickets, each in its own language: a real server takes what they sign. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { WebSocket } from 'ws';
import { PushServer, signedTicket, verifyTicket } from '../src/index.ts';
import { until } from './support/net.ts';
import { needs, uncovered } from './support/programs.ts';

const secret = 'sixteen bytes or more: ü 密';
const names = ['alice', '张伟', 'Zoë O"Brien \\ <&>/+ %', '😀🀄', 'ü'.repeat(128), "'; --", '\u2028'];
const HOUR = 3_600_000;

const languages = {
  Java: { command: ['java'], file: 'Ticket.java', program: 'java' },
  PHP: { command: ['php'], file: 'ticket.php', program: 'php' },
  Python: { command: ['python3'], file: 'ticket.py', program: 'python' },
  Go: { command: ['go', 'run'], file: 'ticket.go', program: 'go' },
} as const;

for (const [language, { command, file, program: name }] of Object.entries(languages)) {
  describe(`tickets signed in ${language}`, needs(name), () => {
    let push: PushServer;
    let url: string;
    const tickets = new Map<string, string>();
    const [program, ...first] = command;
    const sign = async (user: string, ...lifetime: string[]): Promise<string> => {
      const args = [...first, `examples/tickets/${file}`, user, ...lifetime];
      const { stdout } = await promisify(execFile)(program, args, {
        env: { ...uncovered, TIDINGS_SECRET: secret, LC_ALL: 'C.UTF-8' },
      });
      return stdout.trim();
    };

    before(async () => {
      push = new PushServer({ port: 0, host: '127.0.0.1', interceptors: [signedTicket({ secret })] });
      const { port } = await until('an open port', () => push.address() as AddressInfo | null);
      url = `ws://127.0.0.1:${port}/socketServer`;
      for (const name of names) tickets.set(name, await sign(name));
    });
    after(() => push?.close());

    /** The user that the server has the page down for; undefined where it refuses. */
    async function user(ticket: string): Promise<string | undefined> {
      const socket = new WebSocket(url, ['tidings.1', `ticket.${ticket}`]);
      socket.on('error', () => {});
      await once(socket, 'open');
      socket.send('{"type":"hello"}');
      const first = await Promise.race([once(socket, 'message'), once(socket, 'close')]);
      const isMessage = first.length === 2 && typeof first[0] !== 'number';
      socket.terminate();
      if (isMessage) return (JSON.parse(String(first[0])) as { user: string }).user;
      assert.equal(first[0], 4501);
      return undefined;
    }

    test('are accepted, also with names beyond ASCII', async () => {
      for (const [name, ticket] of tickets) assert.equal(await user(ticket), name);
    });

    test('are refused once a character is another one', async () => {
      const ticket = tickets.get('张伟')!;
      for (let i = 0; i < ticket.length; i += 7) {
        const other = ticket[i] === 'A' ? 'B' : 'A';
        assert.equal(await user(ticket.slice(0, i) + other + ticket.slice(i + 1)), undefined, `at ${i}`);
      }
      assert.equal(await user(ticket.slice(0, -1)), undefined);
      assert.equal(await user(`${ticket}A`), undefined);
    });

    test('say until when', async () => {
      const before = Date.now();
      const { expires } = verifyTicket(await sign('alice', String(HOUR)), { secret });
      assert.ok(expires >= before + HOUR && expires <= Date.now() + HOUR, String(expires - before));
      assert.equal(await user(await sign('alice', '-1')), undefined);
    });
  });
}

test('every signer is run', () => {
  const files: string[] = Object.values(languages).map(({ file }) => file);
  assert.deepEqual(readdirSync('examples/tickets').sort(), files.sort());
});
