/** `/xhr_send`: the client's messages as a JSON array. */
import { deliver, PLAIN, type Route, TEXT } from '../route.ts';

export const xhrSend: Route = {
  method: 'POST',
  run(exchange, sessions) {
    return deliver(exchange, sessions, PLAIN, () => {
      // Old Firefox took an untyped 204 for XML and complained to the user.
      exchange.response.writeHead(204, { 'Content-Type': TEXT }).end();
    });
  },
};
