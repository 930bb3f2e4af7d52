#!/usr/bin/env node
/** The `tidings` program; its commands are in src/cli/. */
import { main } from './cli/main.ts';

// A reader that has left (`tidings listen | head -1`) is the end, not a failure. A server does not live for who reads its log.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (process.argv[2] !== 'serve') process.exit(error.code === 'EPIPE' ? 0 : 1);
});
void main(process.argv.slice(2)).then((status) => process.exit(status));
