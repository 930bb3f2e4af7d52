/**
 * The end of a run: all that is under way comes in, each message once and nothing else, before connections are
 * cut. A message that was lost at the end, or doubled, has no neighbour that would show it.
 */
import type { Connection } from './connection.ts';

/** Milliseconds for what is under way: far beyond what any server takes for it. */
const PATIENCE = 60_000;

/**
 * Nothing may be sent any more.
 *
 * @param expected how many messages a connection must have received in the end
 * @throws {Error} which says what is missing or too much, or what went wrong on a connection meanwhile
 */
export async function settle(
  connections: Connection[],
  expected: (connection: Connection) => number,
  patience = PATIENCE,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      let missing = 0;
      for (const connection of connections)
        missing += Math.max(0, expected(connection) - connection.received);
      reject(new Error(missing > 0 ? `${missing} messages never came` : 'a ping was never answered'));
    }, patience);
  });
  // Nobody waits for what can't come any more.
  const broken = new Promise<never>((_, reject) => {
    for (const connection of connections) {
      const { onError } = connection;
      connection.onError = (error) => {
        onError(error);
        reject(error);
      };
    }
  });
  try {
    await Promise.race([late, broken, Promise.all(connections.map((one) => settleOne(one, expected(one))))]);
  } finally {
    clearTimeout(timer);
  }
}

async function settleOne(connection: Connection, expected: number): Promise<void> {
  await new Promise<void>((resolve) => {
    const look = () => {
      if (connection.received >= expected) resolve();
    };
    connection.onMessages = look;
    look();
  });
  await new Promise<void>((resolve) => {
    connection.onPong = resolve;
    connection.ping();
  });
  if (connection.received !== expected) {
    throw new Error(`${connection.received} messages came on a connection, ${expected} were due`);
  }
  await connection.verified();
}
