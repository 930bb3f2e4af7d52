/** `/eventsource`: frames as server-sent events (WHATWG HTML §9.2). */
import type { Route } from '../route.ts';

export const eventsource: Route = {
  method: 'GET',
  run(exchange, sessions) {
    sessions.receive(exchange, {
      contentType: 'text/event-stream',
      // Opera 10 lost the first event without it.
      prelude: '\r\n',
      // A frame has no line break: JSON text escapes them.
      wrap: (frame) => `data: ${frame}\r\n\r\n`,
      limit: sessions.responseLimit,
    });
  },
};
