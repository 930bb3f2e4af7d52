/**
 * A program: the same with a log on disk, which outlives a kill. `late`: a message is acknowledged before it is stored, which
 * a kill finds out.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { streamServer } from './stream.ts';

const [port, file, when] = process.argv.slice(2) as [string, string, string?];
const log = new Map<string, string[]>();
const add = (user: string, text: string): void => {
  log.set(user, [...(log.get(user) ?? []), text]);
};
// The last line may be half a one: that was not accepted.
const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
for (const line of lines) {
  const [user, text] = JSON.parse(line) as [string, string];
  add(user, text);
}
/** So many wait to be stored, whatever the pace of the machine: until more come, or none has for so many milliseconds. */
const LATE = 10;
const IDLE = 3000;
const waiting: { line: string; stored: () => void }[] = [];
const storeAll = (but: number): void => {
  for (const { line, stored } of waiting.splice(0, Math.max(0, waiting.length - but))) {
    appendFileSync(file, line);
    stored();
  }
};
const idle = setTimeout(() => storeAll(0), IDLE);
const isLate = when === 'late';
const server = streamServer({
  log,
  isHasty: isLate,
  store(user, text) {
    const line = `${JSON.stringify([user, text])}\n`;
    if (!isLate) return appendFileSync(file, line);
    idle.refresh();
    return new Promise((stored) => {
      waiting.push({ line, stored });
      storeAll(LATE);
    });
  },
});
process.on('SIGTERM', () => process.exit(0));
server.listen(Number(port), '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${port}/`));
