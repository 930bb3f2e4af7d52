/** A WebSocket whose text frames are the messages: what one writes by hand. */
import { WebSocket } from '../../ws.ts';
import {
  type Adapter,
  type AdapterContext,
  type AdapterPage,
  type PageEvents,
  pageAddress,
  takeSettings,
} from '../adapter.ts';
import { Backoff } from './backoff.ts';
import { HttpSender } from './http-sender.ts';

/** Bytes of a message. */
const MOST = 8 * 1024 * 1024;

export function ws(context: AdapterContext): Adapter {
  const { told, repeats } = takeSettings(context, 'ws', ['told', 'repeats']);
  const sender = new HttpSender(context, '/send/{user}');
  return {
    name: 'ws',
    repeats: repeats === 'true',
    open: (page, events) => openSocket(pageAddress(page), told, events),
    send: (message, signal) => sender.send(message, signal),
    close: () => sender.close(),
  };
}

/** @param told the text of a frame by which the server says that messages are missing */
function openSocket(url: string, told: string | undefined, events: PageEvents): AdapterPage {
  const backoff = new Backoff();
  let socket: WebSocket;
  const attempt = (): void => {
    socket = new WebSocket(url, { perMessageDeflate: false, handshakeTimeout: 5000, maxPayload: MOST });
    let fault: string | undefined;
    socket.on('open', () => {
      backoff.succeeded();
      events.connected();
    });
    socket.on('message', (data, isBinary) => {
      const text = isBinary ? '' : String(data);
      if (text === told) events.told();
      else if (text !== '') events.message(text);
    });
    socket.on('error', ({ message }) => {
      fault = message;
    });
    socket.on('close', (code, reason) => {
      events.disconnected(fault ?? `${code} ${reason}`.trimEnd());
      backoff.again(attempt);
    });
  };
  attempt();
  return {
    close() {
      backoff.end();
      socket.terminate();
    },
  };
}
