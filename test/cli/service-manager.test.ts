/** As a service of systemd: what deploy/systemd says holds, and tidings does its part of it. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import { environmentName, readSettings } from '../../src/cli/options.ts';
import { Reloading } from '../../src/cli/reloading.ts';
import { serveOptions } from '../../src/cli/serve-options.ts';
import { tidings } from '../support/cli.ts';
import { freePort, until } from '../support/net.ts';
import { programFile } from '../support/program-file.ts';
import { needs } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';

const DEFAULTS = ['serve', '--query-user', 'user', '--policy-port', 'off'];

/** What systemd hears, a message an entry. Python has sockets that Node has not. */
async function listener(t: TestContext): Promise<{ path: string; heard: string[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-notify-'));
  const path = join(folder, 'notify');
  // systemd-notify waits until the descriptor that comes with BARRIER=1 is closed.
  const program = `import array,os,socket,sys
s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.bind(sys.argv[1]); print('bound',flush=True)
while True:
  text,more,*_=s.recvmsg(4096,256)
  for level,kind,data in more:
    if kind==socket.SCM_RIGHTS: [os.close(fd) for fd in array.array('i',data)]
  print(repr(text.decode()),flush=True)`;
  const child = spawn('python3', ['-c', program, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  await until('a socket for notifications', () => text.startsWith('bound'));
  return {
    path,
    get heard() {
      return text
        .split('\n')
        .slice(1, -1)
        .map((line) => line.slice(1, -1).replaceAll('\\n', '\n').trim())
        .filter((line) => !line.startsWith('BARRIER'));
    },
  };
}

test('the unit leaves little open, by systemd’s own account: under 2.0', needs('systemd'), () => {
  const unit = 'deploy/systemd/tidings.service';
  execFileSync('systemd-analyze', ['security', '--offline=true', '--threshold=20', unit], { stdio: 'pipe' });
});

test('systemd understands each line of the units', needs('systemd'), () => {
  const units = ['tidings.service', 'tidings.socket'].map((name) => `deploy/systemd/${name}`);
  for (const unit of units) {
    // Complaints of other units on this machine are none of ours.
    const said = execFileSync('sh', ['-c', 'systemd-analyze verify --man=no "$0" 2>&1; true', unit], {
      encoding: 'utf8',
    });
    const ours = said.split('\n').filter((line) => line.includes('deploy/') || line.startsWith('tidings.'));
    assert.deepEqual(
      ours.filter((line) => !/is not executable/.test(line)),
      [],
    );
  }
});

test('the settings of the sample are settings, and it is given time to drain', () => {
  const settings = [...readFileSync('deploy/systemd/tidings.env', 'utf8').matchAll(/^(TIDINGS_\w+)=(.*)$/gm)];
  assert.ok(settings.length > 5);
  const known = Object.keys(serveOptions).map(environmentName);
  for (const [, name] of settings) assert.ok(known.includes(name!), name);
  const drain = Number(settings.find(([, name]) => name === 'TIDINGS_DRAIN')![2]);
  const unit = readFileSync('deploy/systemd/tidings.service', 'utf8');
  assert.ok(Number(unit.match(/^TimeoutStopSec=(\d+)$/m)![1]) * 1000 > drain + 10_000);
});

test('it says when it is ready, that it lives, and that it ends', needs('systemd', 'python'), async (t) => {
  const ears = await listener(t);
  const program = tidings(t, [...DEFAULTS, '--port', '0', '--drain', '600'], {
    environment: { NOTIFY_SOCKET: ears.path, WATCHDOG_USEC: '400000' },
  });
  const [port] = await program.line(/listening on http:\/\/127\.0\.0\.1:(\d+)\//);
  await until('readiness', () => ears.heard.some((text) => text.startsWith('READY=1')));
  assert.match(ears.heard.find((text) => text.startsWith('READY=1'))!, new RegExp(`STATUS=.*:${port}/`));
  const lives = (): number => ears.heard.filter((text) => text === 'WATCHDOG=1').length;
  await until('signs of life', () => lives() >= 3);

  // A page, so that the end takes its time.
  const page = new WebSocket(`ws://127.0.0.1:${port}/socketServer?user=alice`);
  await once(page, 'open');
  program.process.kill('SIGTERM');
  await until('the end', () => ears.heard.some((text) => text.startsWith('STOPPING=1')));
  assert.equal(await program.status(), 0);
  assert.deepEqual(states(ears.heard), ['READY', 'STOPPING']);
  assert.equal(program.stderr.includes('service-manager'), false);
});

/** Without signs of life: the first word of each message. */
const states = (heard: string[]): string[] =>
  heard.filter((text) => !text.startsWith('WATCHDOG')).map((text) => text.split('=')[0]!);

test('it says when it takes settings anew, with the time, and that it is ready again; also with workers, and where they are wrong', {
  ...needs('systemd', 'python', 'redis'),
  timeout: 300_000,
}, async (t) => {
  const redis = await startRedis();
  t.after(() => redis.stop());
  const folder = mkdtempSync(join(tmpdir(), 'tidings-reload-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'tidings.json');
  for (const args of [[], ['--redis', redis.url, '--workers', '2']]) {
    writeFileSync(path, '{"topics": "a"}');
    const ears = await listener(t);
    const environment = { NOTIFY_SOCKET: ears.path };
    const program = tidings(t, [...DEFAULTS, '--port', '0', '--drain', '0', '--config', path, ...args], {
      environment,
    });
    await until('readiness', () => states(ears.heard).length === 1, 60_000);
    for (const [i, content] of ['{"topics": "b"}', '{'].entries()) {
      writeFileSync(path, content);
      const asked = process.hrtime.bigint() / 1000n;
      program.process.kill('SIGHUP');
      const count = 3 + 2 * i;
      await until('readiness again', () => states(ears.heard).length === count, 60_000);
      const [begun = '', over = ''] = ears.heard.slice(count - 2);
      // Only what was said later than the signal is an answer to it.
      assert.ok(BigInt(/^RELOADING=1\nMONOTONIC_USEC=(\d+)\n/.exec(begun)![1]!) >= asked, begun);
      assert.equal(over, ears.heard[0]);
    }
    program.process.kill('SIGTERM');
    assert.equal(await program.status(), 0, program.stderr);
    await until('the end', () => states(ears.heard).includes('STOPPING'));
    const reload = ['RELOADING', 'READY'];
    assert.deepEqual(states(ears.heard), ['READY', ...reload, ...reload, 'STOPPING']);
    assert.match(program.stderr, / reloaded: .*--topics.* reload-failed: /s);
  }
});

test('it is not ready again where it is told to end while it takes settings anew', async (t) => {
  const said: string[] = [];
  let go!: () => void;
  const taken = new Promise<void>((resolve) => {
    go = resolve;
  });
  const folder = mkdtempSync(join(tmpdir(), 'tidings-reload-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'tidings.json');
  writeFileSync(path, '{"topics": "a"}');
  const given = readSettings(serveOptions, ['--config', path], new Set(Object.keys(serveOptions)), {});
  let isOver = false;
  const reloading = new Reloading({
    given,
    demoToken: '',
    log: () => {
      isOver = true;
    },
    begins: () => said.push('begins'),
    ends: () => said.push('ends'),
    take: () => taken,
  });
  writeFileSync(path, '{"topics": "b"}');
  reloading.begin();
  reloading.ask();
  await until('the beginning', () => said.length > 0);
  reloading.end();
  go();
  await until('that it is taken', () => isOver);
  await new Promise(setImmediate);
  assert.deepEqual(said, ['begins']);
});

test('a process that hangs gives no sign of life', needs('systemd', 'python'), async (t) => {
  const ears = await listener(t);
  const program = tidings(t, [...DEFAULTS, '--port', '0'], {
    environment: { NOTIFY_SOCKET: ears.path, WATCHDOG_USEC: '100000' },
  });
  await until('signs of life', () => ears.heard.includes('WATCHDOG=1'), 60_000);
  program.process.kill('SIGSTOP');
  // What was on its way arrives; then it is silent.
  let last = -1;
  await until('silence', async () => {
    const before = last;
    last = ears.heard.length;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    return before === last;
  });
  program.process.kill('SIGCONT');
  await until('signs of life again', () => ears.heard.length > last);
});

test('a watchdog that is for another process is not answered', needs('systemd', 'python'), async (t) => {
  const ears = await listener(t);
  const program = tidings(t, [...DEFAULTS, '--port', '0', '--drain', '0'], {
    environment: { NOTIFY_SOCKET: ears.path, WATCHDOG_USEC: '10000', WATCHDOG_PID: '1' },
  });
  await until('readiness', () => ears.heard.length > 0, 60_000);
  program.process.kill('SIGTERM');
  await program.status();
  assert.ok(!ears.heard.includes('WATCHDOG=1'));
});

test('where systemd can not be told, that is logged once, and pages are served', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-nowhere-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const away: Record<string, string> = { NOTIFY_SOCKET: join(folder, 'nobody'), WATCHDOG_USEC: '50000' };
  for (const environment of [away, { ...away, PATH: folder }]) {
    const program = tidings(t, [...DEFAULTS, '--port', '0', '--drain', '0'], { environment });
    const [port] = await program.line(/listening on http:\/\/127\.0\.0\.1:(\d+)\//);
    await until('a complaint', () => /systemd can't be told/.test(program.stderr));
    assert.equal((await fetch(`http://127.0.0.1:${port}/healthz`)).status, 200);
    program.process.kill('SIGTERM');
    assert.equal(await program.status(), 0);
    assert.equal(program.stderr.match(/systemd can't be told/g)!.length, 1);
  }
});

/**
 * Opens sockets and starts programs as systemd does: with the sockets from descriptor 3 on, and the program's own process
 * id in the environment. Nobody takes connections where no program runs. Node would take them: so it is in Python.
 */
const SUPERVISOR = `import json,os,socket,sys
sockets=[]
for where in json.loads(sys.argv[1]):
  s=socket.socket(socket.AF_UNIX if where else socket.AF_INET)
  s.bind(where or ('127.0.0.1',0)); s.listen(64); sockets.append(s)
print('ports',json.dumps([s.getsockname()[1] if s.family==socket.AF_INET else 0 for s in sockets]),flush=True)
for line in sys.stdin:
  order=json.loads(line); pid=os.fork()
  if pid==0:
    high=[os.dup2(s.fileno(),100+i) for i,s in enumerate(sockets)]
    for i,fd in enumerate(high): os.dup2(fd,3+i,inheritable=True)
    os.closerange(3+len(high),200)
    os.environ.update(LISTEN_PID=order['pid'] or str(os.getpid()),LISTEN_FDS=str(len(high)),LISTEN_FDNAMES=order['names'])
    os.dup2(1,2); os.execv(order['command'][0],order['command'])
  print('started',pid,flush=True)
  print('ended',os.waitstatus_to_exitcode(os.waitpid(pid,0)[1]),flush=True)
`;

/** Process id and command line of each. */
const childrenOf = (parent: number): string =>
  execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(parent)], { encoding: 'utf8' }).replace(
    /^ +/gm,
    '',
  );

interface Started {
  pid: number;
  output(): string;
  end(): Promise<number>;
  status(): Promise<number>;
}

/** @param where paths of sockets of Unix; undefined for ports of this machine */
async function supervisor(t: TestContext, where: (string | undefined)[]) {
  const child = spawn('python3', ['-c', SUPERVISOR, JSON.stringify(where.map((path) => path ?? null))], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  let running: number | undefined;
  t.after(() => {
    if (running !== undefined) process.kill(running, 'SIGKILL');
    child.kill('SIGKILL');
  });
  /** Of lines that have come as a whole. */
  const said = async (pattern: RegExp): Promise<string> =>
    (await until(String(pattern), () => pattern.exec(text.slice(0, text.lastIndexOf('\n') + 1)), 60_000))[1]!;
  const ports = JSON.parse(await said(/^ports (.*)$/m)) as number[];

  async function start(args: string[], { names = '', pid = '' } = {}): Promise<Started> {
    text = '';
    const command = [process.execPath, programFile, ...DEFAULTS, ...args];
    child.stdin.write(`${JSON.stringify({ command, names, pid })}\n`);
    running = Number(await said(/^started (\d+)$/m));
    const status = async (): Promise<number> => {
      const code = Number(await said(/^ended (-?\d+)$/m));
      running = undefined;
      return code;
    };
    return {
      pid: running,
      output: () => text,
      status,
      end: () => {
        process.kill(running!, 'SIGTERM');
        return status();
      },
    };
  }
  return { ports, start };
}

const listens = (started: Started, where = /listening on http/): Promise<unknown> =>
  until('it to listen', () => where.test(started.output()), 60_000);

describe('a socket that systemd hands over', needs('python'), () => {
  test('is served, whatever its name; no other is opened', async (t) => {
    const { ports, start } = await supervisor(t, [undefined]);
    const unused = await freePort();
    const started = await start(['--port', String(unused), '--drain', '0'], { names: 'tidings.socket' });
    await listens(started, new RegExp(`listening on http://127.0.0.1:${ports[0]}/`));
    assert.equal((await fetch(`http://127.0.0.1:${ports[0]}/healthz`)).status, 200);
    await assert.rejects(fetch(`http://127.0.0.1:${unused}/healthz`));
    assert.equal(await started.end(), 0);
  });

  test('is served by several workers, and by one that comes later', needs('redis'), async (t) => {
    const redis = await startRedis();
    t.after(() => redis.stop());
    const { ports, start } = await supervisor(t, [undefined]);
    const started = await start(['--drain', '0', '--redis', redis.url, '--workers', '2', '--instance', 'w']);
    await listens(started, new RegExp(`listening on http://127.0.0.1:${ports[0]}/`));
    const url = `http://127.0.0.1:${ports[0]}/healthz`;
    const served = async (): Promise<string[]> => {
      const names = new Set<string>();
      for (let i = 0; i < 6; i++) {
        // One that was handed to the worker that has just died is answered by nobody.
        const init = { headers: { Connection: 'close' }, signal: AbortSignal.timeout(3_000) };
        const response = await fetch(url, init).catch(() => undefined);
        if (response !== undefined) names.add(((await response.json()) as { instance: string }).instance);
      }
      return [...names].sort();
    };
    await until('both', async () => (await served()).join() === 'w-1,w-2');
    const worker = childrenOf(started.pid)
      .split('\n')
      .find((line) => line.includes(programFile))!;
    process.kill(Number.parseInt(worker, 10), 'SIGKILL');
    await until('a third one', async () => (await served()).includes('w-3'), 60_000);
    assert.equal(await started.end(), 0);
  });

  test('has those wait in line who come while nobody runs', async (t) => {
    const { ports, start } = await supervisor(t, [undefined]);
    const url = `http://127.0.0.1:${ports[0]}/healthz`;
    const first = await start(['--drain', '0']);
    assert.equal((await fetch(url)).status, 200);
    assert.equal(await first.end(), 0);
    const early = fetch(url);
    await start(['--drain', '0']);
    assert.equal((await early).status, 200);
  });

  test('may be one of Unix, and another may be for the admin API', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'tidings-sockets-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'http');
    const { ports, start } = await supervisor(t, [undefined, path]);
    const args = ['--admin-port', '0', '--admin-token', 'a-token-of-16-bytes'];
    const started = await start(args, { names: 'admin:http' });
    await listens(started, /listening on http:.*\/admin/);
    await listens(started, /listening on http:\/\/unix:\/$/m);
    const answer = await fetch(`http://127.0.0.1:${ports[0]}/metrics`);
    assert.equal(answer.status, 200);
    const page = new WebSocket(`ws+unix:${path}:/socketServer?user=alice`);
    await once(page, 'open');
    page.terminate();
  });

  test('is refused where it is of no use, and left alone where it is for another process', async (t) => {
    const two = await supervisor(t, [undefined, undefined]);
    for (const [names, why] of [
      ['http:policy', /the socket "policy" .* may be http or admin/],
      ['http:http', /two sockets by the name http/],
      ['http', /the socket "" /],
      ['http:admin', /takes --admin-port/],
    ] as const) {
      const started = await two.start([], { names });
      assert.equal(await started.status(), 2);
      assert.match(started.output(), why);
    }
    const unused = await freePort();
    const started = await two.start(['--port', String(unused)], { names: 'http:policy', pid: '1' });
    await listens(started, new RegExp(`listening on http://127.0.0.1:${unused}/`));
  });
});
