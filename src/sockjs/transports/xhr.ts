/** `/xhr`: polling; each request brings one frame. */
import { JAVASCRIPT, type Route } from '../route.ts';

export const xhr: Route = {
  method: 'POST',
  run(exchange, sessions) {
    sessions.receive(exchange, {
      kind: 'xhr-polling',
      contentType: JAVASCRIPT,
      wrap: (frame) => `${frame}\n`,
      limit: 0,
    });
  },
};
