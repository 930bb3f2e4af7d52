/** A worker of `tidings serve --workers`: an instance that does what its primary process says, and ends when that is gone. */
import cluster from 'node:cluster';
import type { Family } from '../metrics/index.ts';
import { within } from '../waiting.ts';
import { Files } from './files.ts';
import { logOutput } from './log-output.ts';
import { type Settings, UsageError } from './options.ts';
import { Instance } from './serve-instance.ts';
import type { serveOptions } from './serve-options.ts';
import { checkServe, mergeSettings, type ServeSettings, withDemo } from './serve-settings.ts';
import { type FromWorker, isMessage, type ToWorker, WORKER_VARIABLE } from './worker-messages.ts';
import { startOrders } from './worker-orders.ts';

/** Milliseconds that the primary may take to say what all have counted. */
const PATIENCE = 3_000;

/** Resolves when it has left, or can't. */
function say(message: FromWorker): Promise<void> {
  return new Promise((resolve) => {
    if (process.connected)
      process.send!({ of: 'tidings', ...message }, undefined, undefined, () => resolve());
    else resolve();
  });
}

/** @returns the exit status */
export async function runWorker(
  given: Settings<typeof serveOptions>,
  environment: NodeJS.ProcessEnv,
): Promise<number> {
  const { sources, demoToken, listening } = await startOrders();
  const { port, adminPort, policyPort } = listening.ports;
  const settingsOf = (files: Files): ServeSettings => {
    const next = given.again(files);
    checkServe(next);
    return withDemo(next.values, demoToken);
  };
  let isWhole = false;
  let instance: Instance | undefined;
  let settings: ServeSettings;
  /** Questions to the primary, by their numbers. */
  const asked = new Map<number, (families: Family[]) => void>();
  let lastId = 0;

  const metrics = async (): Promise<Family[]> => {
    const id = ++lastId;
    const answer = new Promise<Family[]>((resolve) => asked.set(id, resolve));
    void say({ type: 'metrics-of-all?', id });
    const families = await within(PATIENCE, answer);
    asked.delete(id);
    // Without the primary, what this one has counted is better than nothing.
    return families ?? instance!.metrics();
  };

  let finish: (hasOthers: boolean) => void = () => {};
  const ending = new Promise<boolean>((resolve) => {
    finish = resolve;
  });
  let queue: Promise<unknown> = Promise.resolve();
  const reload = async ({ id, files, isTrial }: Extract<ToWorker, { type: 'reload' }>): Promise<void> => {
    try {
      const merged = mergeSettings(settings, settingsOf(Files.fromCopy(files)));
      await instance!.reload(merged.settings, isTrial);
      if (!isTrial) settings = merged.settings;
      void say({ type: 'reloaded', id });
    } catch (error) {
      void say({ type: 'reloaded', id, problem: error instanceof Error ? error.message : String(error) });
    }
  };
  process.on('message', (message: unknown) => {
    if (!isMessage(message)) return;
    const order = message as unknown as ToWorker;
    if (order.type === 'all-ready') isWhole = true;
    else if (order.type === 'reload') queue = queue.then(() => reload(order));
    else if (order.type === 'metrics?') {
      void say({ type: 'metrics', id: order.id, families: instance?.metrics() ?? [] });
    } else if (order.type === 'metrics-of-all') asked.get(order.id)?.(order.families);
    else if (order.type === 'drain') finish(false);
  });
  // Beside the stack that Node prints, which does not say whose it is.
  process.on('uncaughtExceptionMonitor', (error) => {
    instance?.log('error', `this worker ends by a fault of its program: ${error}`, {
      event: 'worker-failed',
    });
  });
  // Signals are the primary's to obey. Who sends one to this process alone wants this worker to go.
  process.on('SIGTERM', () => finish(true));
  process.on('SIGINT', () => {});
  process.on('SIGHUP', () => {});
  cluster.worker!.once('disconnect', () => {
    // Otherwise Node ends the process at once, with all that its pages had.
    cluster.worker!.exitedAfterDisconnect = true;
    instance?.log('warn', 'the primary process is gone, so this worker ends', { event: 'primary-gone' });
    finish(true);
    // Nobody is there to come in, and nothing to be waited for.
    if (instance === undefined) process.exit(1);
  });

  try {
    const first = settingsOf(Files.fromCopy(sources.start));
    settings = mergeSettings(first, settingsOf(Files.fromCopy(sources.now))).settings;
    const name = environment[WORKER_VARIABLE]!;
    instance = await Instance.start(
      {
        ...settings,
        port,
        ...(adminPort !== undefined && { adminPort }),
        ...(policyPort !== undefined && { policyPort: String(policyPort) }),
      },
      {
        name,
        output: logOutput(settings, name),
        handed: new Map(listening.handed),
        metrics,
        isWaiting: () => !isWhole,
      },
    );
    const isUp = await Promise.race([instance.ready().then(() => true), ending.then(() => false)]);
    if (isUp) void say({ type: 'ready', places: instance.places });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const status = error instanceof UsageError ? 2 : 1;
    await say({ type: 'failed', message, status });
    return status;
  }
  const end = await Promise.race([ending, instance.failed]);
  if (!(end instanceof Error)) {
    await instance.close(end);
    return 0;
  }
  await say({ type: 'failed', message: end.message, status: 1 });
  await instance.close(true);
  return 1;
}
