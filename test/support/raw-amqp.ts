/** Publishes a message to RabbitMQ byte by byte: with properties that no library writes. */
import { connect } from 'node:net';

/** Which property it is, by the bits of its flag (AMQP 0.9.1, 4.2.6.1). */
export const PROPERTY = { headers: 0x2000, correlationId: 0x400, messageId: 0x80, timestamp: 0x40 };

const METHOD = 1;
const HEADER = 2;
const BODY = 3;
const END = Buffer.from([0xce]);
/** One channel, frames of 128 KiB, no heartbeats. */
const TUNED = Buffer.from([0, 1, 0, 2, 0, 0, 0, 0]);

/** A text of up to 255 bytes. */
export const short = (text: string | Buffer): Buffer =>
  Buffer.concat([Buffer.from([Buffer.byteLength(text)]), Buffer.from(text as string)]);
export const long = (bytes: string | Buffer): Buffer => {
  const size = Buffer.alloc(4);
  size.writeUInt32BE(Buffer.byteLength(bytes));
  return Buffer.concat([size, Buffer.from(bytes as string)]);
};
/** A table of texts and tables. */
export const table = (entries: [name: string | Buffer, value: string | Buffer][]): Buffer =>
  long(
    Buffer.concat(
      entries.flatMap(([name, value]) => [
        short(name),
        typeof value === 'string'
          ? Buffer.concat([Buffer.from('S'), long(value)])
          : Buffer.concat([Buffer.from('F'), value]),
      ]),
    ),
  );

function frame(type: number, channel: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(7);
  head[0] = type;
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, END]);
}

function method(channel: number, of: number, number: number, ...fields: Buffer[]): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(of);
  head.writeUInt16BE(number, 2);
  return frame(METHOD, channel, Buffer.concat([head, ...fields]));
}

/** Resolves once RabbitMQ has confirmed it. @param property of it only this one, in its bytes */
export async function publishRaw(
  port: number,
  queue: string,
  body: string,
  property: keyof typeof PROPERTY,
  bytes: Buffer,
): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  let read = Buffer.alloc(0);
  let heard: (frame: Buffer) => void = () => {};
  socket.on('data', (chunk) => {
    read = Buffer.concat([read, chunk]);
    while (read.length >= 7 && read.length >= read.readUInt32BE(3) + 8) {
      const size = read.readUInt32BE(3) + 8;
      const whole = read.subarray(0, size);
      read = read.subarray(size);
      if (whole[0] === METHOD) heard(whole);
    }
  });
  const answer = async (...sent: (Buffer | string)[]): Promise<Buffer> => {
    const answered = new Promise<Buffer>((resolve, reject) => {
      heard = resolve;
      socket
        .once('error', reject)
        .once('close', () => reject(new Error('RabbitMQ has closed the connection')));
    });
    for (const each of sent) socket.write(each);
    return answered;
  };
  const nothing = Buffer.alloc(0);
  try {
    await answer('AMQP\0\0\x09\x01');
    await answer(method(0, 10, 11, long(nothing), short('PLAIN'), long('\0guest\0guest'), short('en_US')));
    await answer(method(0, 10, 31, TUNED), method(0, 10, 40, short('/'), short(''), Buffer.alloc(1)));
    await answer(method(1, 20, 10, short('')));
    await answer(method(1, 85, 10, Buffer.alloc(1)));
    const header = Buffer.alloc(14);
    header.writeUInt16BE(60);
    header.writeBigUInt64BE(BigInt(body.length), 4);
    header.writeUInt16BE(PROPERTY[property], 12);
    const confirmed = await answer(
      method(1, 60, 40, Buffer.alloc(2), short(''), short(queue), Buffer.alloc(1)),
      frame(HEADER, 1, Buffer.concat([header, bytes])),
      frame(BODY, 1, Buffer.from(body)),
    );
    // basic.ack
    if (confirmed.readUInt16BE(7) !== 60 || confirmed.readUInt16BE(9) !== 80)
      throw new Error('not confirmed');
  } finally {
    socket.destroy();
  }
}
