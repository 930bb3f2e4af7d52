#!/usr/bin/env node
/** The `tidings` program; its commands are in src/cli/. */
import { main } from './cli/main.ts';

// A reader that has left (`tidings listen | head -1`) is the end, not a failure. A server does not live for who reads its log,
// and a verdict is a status, too, whoever reads the lines.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (!['serve', 'prove'].includes(process.argv[2] ?? '')) process.exit(error.code === 'EPIPE' ? 0 : 1);
});
void main(process.argv.slice(2)).then((status) => {
  const end = (): void => process.exit(status);
  // A pipe takes 64 KiB at a time: the end would cut off what is to come. A server has seen to its log by itself.
  if (process.argv[2] === 'serve') end();
  else process.stdout.write('', end);
});
