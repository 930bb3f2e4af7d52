/** Large messages that a server holds and sends when asked: both ends of a bench can make them. */

/** How many different ones there are. */
export const STORED = 64;

/** The payload of a request: the number of the message in its first four bytes. */
export function storedRequest(index: number): Buffer {
  return Buffer.from(`${numberOf(index)} please ....`);
}

/** The message of that number. */
export function storedMessage(index: number, size: number): Buffer {
  const bytes = Buffer.alloc(size, `stored message ${index}, `);
  bytes.write(numberOf(index), 'latin1');
  return bytes;
}

/** In the program of a server: all of them, and which one a request means. */
export function store(size: number): (request: Buffer) => Buffer {
  const messages = Array.from({ length: STORED }, (_, index) => storedMessage(index, size));
  return (request) => messages[Number.parseInt(request.toString('latin1', 0, 4), 16) % STORED]!;
}

function numberOf(index: number): string {
  return index.toString(16).padStart(4, '0');
}
