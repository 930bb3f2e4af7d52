/**
 * One message to a million users, through a real Redis: messages a second, and the memory of the process meanwhile.
 *
 *     node --expose-gc --import ./scripts/typescript.mjs bench/send-many.ts [--users 1000000] [--later] [--key] [--json]
 *
 * `--later`: they are scheduled, and then all due at once and sent by the same process; `--key`: with an idempotency key.
 */
import { parseArgs } from 'node:util';
import { PushServer, redisBroker } from '../src/index.ts';
import { startRedis } from '../test/support/redis.ts';
import { ask } from '../test/support/redis-groups.ts';

const { values } = parseArgs({
  options: {
    users: { type: 'string', default: '1000000' },
    later: { type: 'boolean', default: false },
    key: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const count = Number(values.users);
const MB = 1024 * 1024;

function* users(prefix: string, count: number): Generator<string> {
  for (let i = 0; i < count; i++) yield `${prefix}${i}`;
}

const redis = await startRedis();
const push = new PushServer({
  broker: redisBroker(redis.url, { intake: false }),
  log: (_level, message) => console.error(message),
});
await push.ready;

let errors = 0;
const data = { subject: 'The canteen is closed', text: 'x'.repeat(60) };
const each = ({ error }: { error?: Error }): void => {
  if (error !== undefined) errors++;
};
const settings = { each, ...(values.key && { idempotencyKey: 'bench' }) };
// Everything is warm, and has taken what memory it takes.
await push.sendMany(users('warm', 50_000), data, settings);
await ask(redis, 'FLUSHALL');
globalThis.gc?.();
const before = process.memoryUsage();
let peak = before;
const watch = setInterval(() => {
  const now = process.memoryUsage();
  if (now.rss > peak.rss) peak = now;
}, 50);

const cpu = process.cpuUsage();
const begun = performance.now();
// Late enough that all of them are scheduled by then.
const at = Date.now() + 5_000 + count / 5;
const sum = await push.sendMany(users('user', count), data, { ...settings, ...(values.later && { at }) });
const seconds = (performance.now() - begun) / 1000;
const used = process.cpuUsage(cpu);
clearInterval(watch);
globalThis.gc?.();
const after = process.memoryUsage();
const info = String(await ask(redis, 'INFO', 'memory'));
const kept = Number(/used_memory:(\d+)/.exec(info)?.[1]);

let sentPerSecond = 0;
let late = 0;
if (values.later) {
  while (Date.now() < at) await new Promise((resolve) => setTimeout(resolve, 10));
  const start = performance.now();
  const before = Number((await ask(redis, 'DBSIZE')) as number);
  while (Number((await ask(redis, 'DBSIZE')) as number) === before)
    await new Promise((resolve) => setTimeout(resolve, 5));
  late = performance.now() - start;
  while ((await push.scheduled({ limit: 1 })).count > 0)
    await new Promise((resolve) => setTimeout(resolve, 100));
  sentPerSecond = Math.round(count / ((performance.now() - start) / 1000));
}

const result = {
  users: count,
  sent: sum.sent,
  failed: errors,
  seconds: Number(seconds.toFixed(1)),
  perSecond: Math.round(count / seconds),
  cpuMicroseconds: Number(((used.user + used.system) / count).toFixed(1)),
  rssBefore: Math.round(before.rss / MB),
  rssPeak: Math.round(peak.rss / MB),
  heapAfter: Math.round((after.heapUsed - before.heapUsed) / MB),
  redisBytesEach: Math.round(kept / count),
  ...(values.later && { millisecondsLate: Math.round(late), sentPerSecond }),
};
if (values.json) console.log(JSON.stringify(result));
else console.table([result]);

await push.close();
await redis.stop();
if (sum.sent !== count || errors > 0) process.exitCode = 1;
