/** PUBLISHes prebuilt commands as fast as Redis answers, 1,000 outstanding, until it is ended. */
import { connect } from 'node:net';
import { onJob } from '../program.ts';
import type { RespJob } from './job.ts';

const BATCH = 500;

onJob<RespJob>(async ({ port, size }) => {
  const socket = connect(port, '127.0.0.1');
  const command = `*3\r\n$7\r\nPUBLISH\r\n$5\r\nbench\r\n$${size}\r\n${'m'.repeat(size)}\r\n`;
  const batch = Buffer.from(command.repeat(BATCH));
  let replies = 0;
  socket.on('data', (chunk) => {
    // Each reply is `:1` and CR LF.
    for (const byte of chunk) if (byte === 10) replies++;
    while (replies >= BATCH) {
      replies -= BATCH;
      socket.write(batch);
    }
  });
  socket.write(batch);
  socket.write(batch);
});
process.on('disconnect', () => process.exit(0));
