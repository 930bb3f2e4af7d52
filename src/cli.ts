#!/usr/bin/env node
/** The `tidings` program; its commands are in src/cli/. */
import { main } from './cli/main.ts';

// A reader that has left (`tidings listen | head -1`) is the end, not a failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
void main(process.argv.slice(2)).then((status) => process.exit(status));
