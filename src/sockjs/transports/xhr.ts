/** `/xhr`: polling; each request brings one frame. */
import { JAVASCRIPT, type Route } from '../route.ts';

export const xhr: Route = {
  method: 'POST',
  run(exchange, sessions) {
    sessions.receive(exchange, { contentType: JAVASCRIPT, wrap: (frame) => `${frame}\n`, limit: 0 });
  },
};
