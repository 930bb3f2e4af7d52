/** PUBLISHes prebuilt commands: STEP of them at the start, and as many more each time it is told to go on. */
import { connect } from 'node:net';
import type { RespJob } from './job.ts';
import { STEP } from './pace.ts';

const BATCH = 500;

process.once('message', ({ port, size }: RespJob) => {
  const socket = connect(port, '127.0.0.1');
  const command = `*3\r\n$7\r\nPUBLISH\r\n$5\r\nbench\r\n$${size}\r\n${'m'.repeat(size)}\r\n`;
  const batch = Buffer.from(command.repeat(BATCH));
  const publish = () => {
    for (let sent = 0; sent < STEP; sent += BATCH) socket.write(batch);
  };
  socket.resume();
  publish();
  publish();
  process.on('message', publish);
});
process.on('disconnect', () => process.exit(0));
