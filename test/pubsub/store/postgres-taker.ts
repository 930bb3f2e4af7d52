/** A program: an instance that takes what is due out of a schedule in PostgreSQL, says what it was given, and settles half of it. */
import { postgresBroker } from '../../../src/pubsub/store/postgres-broker.ts';

const [url, name, lease] = process.argv.slice(2) as [string, string, string];
const broker = postgresBroker(url);
await broker.open({ message() {}, transient() {}, acknowledged() {}, down() {}, up() {} });
for (;;) {
  const wanted = { now: Date.now(), lease: Number(lease), most: 8, bytes: 1024 * 1024 };
  const answer = await broker.schedule.take(`${name}.0`, wanted);
  if (answer.state !== 'held') continue;
  for (const { id } of answer.messages) process.stdout.write(`given ${id}\n`);
  const stored = answer.messages.slice(0, 4).map(({ id }) => ({ id, what: 'stored' as const }));
  await broker.schedule.settle(`${name}.0`, stored);
  for (const { id } of stored) process.stdout.write(`settled ${id}\n`);
}
