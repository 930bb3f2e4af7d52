/**
 * `npm run story [-- --keep]`: the user's own stack, started and played in Chromium (examples/spring-mvc). Prints a
 * line for each chapter; exit status 1 if one has failed. Whatever happens, it leaves no program running.
 */
import { parseArgs } from 'node:util';
import type { Browser } from 'playwright-core';
import { launchChromium } from '../support/chromium.ts';
import { providePackages } from './packages.ts';
import { programs, stopAll } from './processes.ts';
import { type Stack, startStack } from './stack.ts';
import { story } from './story.ts';

const HELP = `Usage: npm run story [-- --keep]

Starts Redis, two tidings, two Tomcats with Spring MVC and Shiro, and nginx with TLS on free ports of
this machine, and plays a story in Chromium: docs/spring.md. Needs Debian 12's packages; as root it
installs those that are missing.

Options:
  --keep      Start it all to be looked at, print the address, and end with Ctrl-C
  -h, --help  This text
`;

/** Milliseconds after which it has failed, wherever it is. */
const LIMIT = 5 * 60_000;

const { values } = parseArgs({
  options: { keep: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
});
if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}

let stack: Stack | undefined;
let browser: Browser | undefined;

let cleaning: Promise<void> | undefined;
function stop(): Promise<void> {
  cleaning ??= (async () => {
    await browser?.close();
    await stopAll();
    await stack?.stop();
  })();
  return cleaning;
}

for (const [signal, status] of [
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  // A second one does not wait: what is left is killed on exit.
  process.on(signal, () => {
    // What fails from here on fails because it was told to end.
    console.log = console.error = () => {};
    if (cleaning !== undefined) process.exit(status);
    void stop().finally(() => process.exit(status));
  });
}

const seconds = (from: number): string => `${((performance.now() - from) / 1000).toFixed(1)} s`;

async function play(): Promise<boolean> {
  const begun = performance.now();
  providePackages();
  let from = performance.now();
  stack = await startStack();
  console.log(`ok - Redis, two tidings, two Tomcats and nginx are up at ${stack.url} (${seconds(from)})`);
  if (values.keep) {
    console.log(
      'alice, 张伟, kim and root sign in with alice-1, zhangwei-1, kim-1 and root-1; Ctrl-C ends it',
    );
    await new Promise(() => setInterval(() => {}, 2 ** 30));
  }
  browser = await launchChromium({
    windows: true,
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
  });
  const { chapters, errors } = story(stack, browser);
  let passed = 0;
  for (const { name, play } of chapters) {
    from = performance.now();
    try {
      const figure = await play();
      console.log(`ok - ${name} (${[seconds(from), figure].filter(Boolean).join('; ')})`);
      passed++;
    } catch (error) {
      console.log(`not ok - ${name} (${seconds(from)})`);
      console.error(error);
      break;
    }
  }
  const complaints = [...errors(), ...stack.complaints()];
  for (const line of complaints) console.log(`not ok - ${line}`);
  const hasPassed = passed === chapters.length && complaints.length === 0;
  if (!hasPassed) {
    for (const { name, output } of programs()) console.error(`── ${name}\n${output.slice(-4000)}`);
  }
  console.log(`the story took ${seconds(begun)}`);
  console.log(`${passed} passed, ${hasPassed ? 0 : Math.max(1, chapters.length - passed)} failed`);
  return hasPassed;
}

const late = setTimeout(() => {
  console.error(`the story has not ended within ${LIMIT / 1000} s`);
  process.exit(1);
}, LIMIT);
if (values.keep) late.unref();
try {
  process.exitCode = (await play()) ? 0 : 1;
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
clearTimeout(late);
await stop();
process.exit();
