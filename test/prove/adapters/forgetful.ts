/** tidings, with pages whose client never says where it was: recovery is switched off. */
import { connect, type WebSocketConstructor } from '../../../src/client/full.ts';
import { webSocketTransport } from '../../../src/client/transport.ts';
import type { Adapter, AdapterContext } from '../../../src/prove/adapter.ts';
import { tidings } from '../../../src/prove/adapters/tidings.ts';
import { WebSocket } from '../../../src/ws.ts';

const toServer = webSocketTransport(WebSocket as unknown as WebSocketConstructor);

export default function forgetful(context: AdapterContext): Adapter {
  return {
    ...tidings(context),
    name: 'forgetful',
    open({ url, user }, events) {
      const client = connect({
        url: `${url}socketServer`,
        user,
        device: null,
        start: 'now',
        reconnect: { min: 50, max: 1000 },
        heartbeat: { interval: 1500, timeout: 1500 },
        transport: (address, protocols, its) => {
          const transport = toServer(address, protocols, its);
          return {
            close: (code, reason) => transport.close(code, reason),
            send(text) {
              const frame = JSON.parse(text);
              transport.send(JSON.stringify(frame.type === 'hello' ? { ...frame, positions: {} } : frame));
            },
          };
        },
      });
      client.on('open', () => events.connected());
      client.on('close', ({ reason }) => events.disconnected(reason));
      client.on('message', ({ data, id }) => events.message(JSON.stringify(data), id));
      client.on('gap', ({ reason }) => events.told(reason));
      return { close: () => client.close() };
    },
  };
}
