/** `/eventsource`: frames as server-sent events (WHATWG HTML §9.2). */
import type { Route } from '../route.ts';

export const eventsource: Route = {
  method: 'GET',
  run(exchange, sessions) {
    sessions.receive(exchange, {
      kind: 'eventsource',
      contentType: 'text/event-stream',
      // Opera 10 lost the first event without it.
      prelude: '\r\n',
      // A frame has no line break: JSON text escapes them. Clients decode percent escapes (decodeURI) in each frame; a
      // percent sign that JSON escapes is none to them, and to those that don't decode it is the same.
      wrap: (frame) => `data: ${frame.replaceAll('%', '\\u0025')}\r\n\r\n`,
      limit: sessions.responseLimit,
    });
  },
};
