/** tidings: pages by the client that browsers have, messages by the admin API. */
import { connect, type WebSocketConstructor } from '../../client/full.ts';
import { signTicket } from '../../push/door/ticket.ts';
import { WebSocket } from '../../ws.ts';
import { type Adapter, type AdapterContext, AdapterError, takeSettings } from '../adapter.ts';
import { HttpSender } from './http-sender.ts';

/** `tidings.1`: pages say where they were. */
export const tidings = (context: AdapterContext): Adapter => create(context, 'tidings', false);

/** Without a subprotocol: nothing is recovered. */
export const plain = (context: AdapterContext): Adapter => create(context, 'plain', true);

function create(context: AdapterContext, name: string, isPlain: boolean): Adapter {
  takeSettings(context, name, []);
  const { token, secret, userParameter } = context;
  if (token === undefined)
    throw new AdapterError(
      'messages are sent by the admin API: give the --token that the server was started with',
    );
  const ticketFor = (user: string): string => signTicket(user, { secret: secret!, lifetime: 600_000 });
  try {
    if (secret !== undefined) ticketFor('somebody');
  } catch (error) {
    throw new AdapterError(`--secret: ${(error as Error).message}`);
  }
  const sender = new HttpSender(context, '/api/users/{user}/messages');
  return {
    name,
    repeats: true,
    open({ url, user }, events) {
      const target = new URL(url);
      if (target.pathname === '/') target.pathname = '/socketServer';
      const client = connect({
        url: target.href,
        ...(secret === undefined ? { user, userParameter } : { ticket: () => ticketFor(user) }),
        device: null,
        plain: isPlain,
        reconnect: { min: 50, max: 1000 },
        heartbeat: { interval: 1500, timeout: 1500 },
        connectTimeout: 5000,
        fallback: false,
        WebSocket: WebSocket as unknown as WebSocketConstructor,
      });
      client.on('open', () => events.connected());
      client.on('close', ({ code, reason }) => {
        const silent = 'there is no tidings here, or the connection was lost';
        events.disconnected(`closed with ${code}: ${reason || (code === 1006 ? silent : 'no reason')}`);
      });
      client.on('message', ({ data, id }) => {
        events.message(typeof data === 'string' ? data : JSON.stringify(data), id);
      });
      client.on('gap', ({ reason }) => events.told(reason));
      return { close: () => client.close() };
    },
    send: (message, signal) => sender.send(message, signal),
    close: () => sender.close(),
  };
}
