/**
 * Whether a server is there that speaks: NATS says the first words, in a line. The library leaves a connection open for good on which
 * it does not hear them, as that of a server that stands still or is none of NATS; so nobody dials with it before.
 */
import { connect } from 'node:net';
import { clearTimeout, setTimeout } from '../../clock.ts';

/** The first word, and bytes of the line at most: a cluster names all of its servers. */
const FIRST = 'INFO ';
const MOST = 1024 * 1024;

/** @throws {Error} where it can't be reached, is another server, or has not said the line in so many milliseconds */
export function greeted(host: string, port: number, milliseconds: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, host);
    const end = (error?: Error): void => {
      clearTimeout(timer);
      socket.destroy();
      if (error === undefined) resolve();
      else reject(error);
    };
    const timer = setTimeout(() => end(new Error('NATS does not answer')), milliseconds);
    let said = '';
    socket.setEncoding('latin1').on('data', (text: string) => {
      said += text;
      if (!said.startsWith(FIRST.slice(0, said.length)) || said.length > MOST)
        end(new Error('what answers is no NATS server'));
      else if (said.includes('\r\n')) end();
    });
    socket.on('error', end);
    socket.once('close', () => end(new Error('NATS has closed the connection')));
  });
}
