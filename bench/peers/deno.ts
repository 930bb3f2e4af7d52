/** Deno's own server. It has no permessage-deflate on the server side. Run by deno. */
import { listening, peerOptions } from './peer-options.ts';

const { port, host, mode } = await peerOptions();
const clients = new Set<WebSocket>();
Deno.serve(
  { port, hostname: host, onListen: (address) => listening('ws', host, address.port) },
  (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request, { idleTimeout: 0 });
    socket.binaryType = 'arraybuffer';
    // The cut at the end of a run comes here as well, with nothing to tell it by: the generator has to notice.
    socket.onerror = () => {};
    if (mode === 'echo') {
      socket.onmessage = (event) => socket.send(event.data);
    } else if (mode === 'broadcast') {
      socket.onopen = () => clients.add(socket);
      socket.onclose = () => clients.delete(socket);
      socket.onmessage = (event) => {
        for (const client of clients) client.send(event.data);
      };
    }
    return response;
  },
);
