/** `/jsonp`: polling by script elements, for pages that can do nothing else across origins. */
import { callbackName, JAVASCRIPT, type Route } from '../route.ts';

export const jsonp: Route = {
  method: 'GET',
  run(exchange, sessions) {
    const callback = callbackName(exchange);
    if (callback === undefined) return;
    // With the comment in front, the answer can't pass for a Flash file whose bytes the callback chose.
    exchange.response.setHeader('X-Content-Type-Options', 'nosniff');
    sessions.receive(exchange, {
      kind: 'jsonp',
      contentType: JAVASCRIPT,
      wrap: (frame) => `/**/${callback}(${JSON.stringify(frame)});\r\n`,
      limit: 0,
    });
  },
};
