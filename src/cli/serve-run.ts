/** What `tidings serve` does, from the settings to a clean end: as one process, or as the primary of several workers. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { hostname } from 'node:os';
import { announce, schemeOf } from './announcement.ts';
import { logOutput } from './log-output.ts';
import { type Settings, UsageError } from './options.ts';
import { Reloading } from './reloading.ts';
import { Instance, type Places } from './serve-instance.ts';
import type { serveOptions } from './serve-options.ts';
import { checkServe, type ServeSettings, withDemo } from './serve-settings.ts';
import { handedSockets, type SocketName, serviceManager } from './service-manager.ts';
import { listenToSignals } from './signals.ts';
import { runWorker } from './worker.ts';
import type { Listening } from './worker-messages.ts';
import { isWorker } from './worker-orders.ts';
import { Workers } from './workers.ts';

type Given = Settings<typeof serveOptions>;

/** @returns the exit status, after a signal has ended it */
export async function runServe(given: Given, environment = process.env): Promise<number> {
  if (isWorker(environment)) return runWorker(given, environment);
  checkServe(given);
  return given.values.workers === undefined ? runAlone(given) : runWorkers(given, given.values.workers);
}

/** What both have to begin with. */
function beginning(given: Given) {
  const demoToken = randomBytes(16).toString('base64url');
  const settings = withDemo(given.values, demoToken);
  const name = settings.instance ?? `${hostname()}-${process.pid}-${randomBytes(4).toString('hex')}`;
  return { demoToken, settings, name, output: logOutput(settings, name) };
}

async function runAlone(given: Given): Promise<number> {
  const { demoToken, settings, name, output } = beginning(given);
  const handed = handedSockets();
  const manager = serviceManager(output.log);
  let instance: Instance | undefined;
  let hasFailed = false;
  const status = (): string => `listening on ${schemeOf(settings)}://${instance!.places.http}/`;
  const reloading = new Reloading({
    given,
    demoToken,
    log: output.log,
    begins: () => manager.reloading(),
    ends: () => manager.ready(status()),
    take: (next) => instance!.reload(next, false),
  });
  const ended = listenToSignals({ reload: () => reloading.ask(), kill: () => process.exit(1) });
  try {
    instance = await Instance.start(settings, { name, output, handed });
    const isUp = await Promise.race([instance.ready().then(() => true), ended.then(() => false)]).catch(
      () => undefined,
    );
    // The push server has logged why.
    if (isUp === undefined) return 1;
    if (isUp) {
      announce(settings, instance.places, output);
      manager.ready(status());
      reloading.begin();
      const failed = instance.failed.then(() => true);
      hasFailed = await Promise.race([ended.then(() => false), failed]);
    }
  } finally {
    reloading.end();
  }
  manager.stopping(`clients are told to leave within ${reloading.settings.drain} ms`);
  await instance.close(false);
  await manager.told();
  return hasFailed ? 1 : 0;
}

async function runWorkers(given: Given, count: number): Promise<number> {
  const { demoToken, settings, name, output } = beginning(given);
  const handed = handedSockets();
  const listening = { ports: await chosenPorts(settings, handed), handed: [...handed] };
  const manager = serviceManager(output.log);
  let workers: Workers | undefined;
  let places: Places | undefined;
  const status = (): string => `${count} workers listening on ${schemeOf(settings)}://${places!.http}/`;
  const reloading = new Reloading({
    given,
    demoToken,
    log: output.log,
    begins: () => manager.reloading(),
    ends: () => manager.ready(status()),
    async take(next, files) {
      await workers!.reload(files.copy());
      output.level = next.logLevel;
    },
  });
  const ended = listenToSignals({
    reload: () => reloading.ask(),
    kill() {
      workers?.kill();
      process.exit(1);
    },
  });
  const start = given.files.copy();
  workers = new Workers({ count, name, sources: { start, now: start }, demoToken, listening, output });
  const { over, ready } = workers;
  const isUp = ready.then((first) => {
    places = first;
  });
  await Promise.race([isUp, ended, over]);
  if (places !== undefined) {
    announce(settings, places, output);
    manager.ready(status());
    reloading.begin();
    await Promise.race([ended, over]);
  }
  reloading.end();
  const { drain } = reloading.settings;
  manager.stopping(`clients are told to leave within ${drain} ms`);
  // Where they are over by themselves, that is told below.
  workers.end(drain);
  const end = await over;
  await Promise.all([output.flush(), manager.told()]);
  if (end.message !== undefined)
    throw end.status === 2 ? new UsageError(end.message) : new Error(end.message);
  return end.status;
}

/** In place of 0, ports that are free: a worker that comes later has to listen where the others did. */
async function chosenPorts(
  { host, port, adminHost, adminPort, policyPort }: ServeSettings,
  handed: ReadonlyMap<SocketName, number>,
): Promise<Listening['ports']> {
  const places: [host: string, port: number | undefined, isHanded: boolean][] = [
    [host, port, handed.has('http')],
    [adminHost, adminPort, handed.has('admin')],
    [host, policyPort === '0' ? 0 : undefined, false],
  ];
  const servers = places.map(([at, wanted, isHanded]) =>
    wanted === 0 && !isHanded ? createServer().listen(0, at) : undefined,
  );
  try {
    await Promise.all(servers.map((server) => server && once(server, 'listening')));
    const [main, admin, policy] = servers.map((server, i) =>
      server === undefined ? places[i]![1] : (server.address() as AddressInfo).port,
    );
    return { port: main!, adminPort: admin, policyPort: policy };
  } finally {
    await Promise.all(servers.map((server) => server && new Promise((closed) => server.close(closed))));
  }
}
