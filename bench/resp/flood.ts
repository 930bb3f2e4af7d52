/** PUBLISHes prebuilt commands: STEP of them at the start, and as many more each time it is told to go on. */
import { connect } from 'node:net';
import type { RespJob } from './job.ts';
import { BATCH, FIRST, REST, STEP } from './pace.ts';

process.once('message', ({ port, size }: RespJob) => {
  const socket = connect(port, '127.0.0.1');
  const command = (first: string) =>
    `*3\r\n$7\r\nPUBLISH\r\n$5\r\nbench\r\n$${size}\r\n${first}${'m'.repeat(size - 1)}\r\n`;
  const batch = Buffer.from(command(FIRST) + command(REST).repeat(BATCH - 1));
  const publish = () => {
    for (let sent = 0; sent < STEP; sent += BATCH) socket.write(batch);
  };
  socket.resume();
  publish();
  publish();
  process.on('message', publish);
});
process.on('disconnect', () => process.exit(0));
