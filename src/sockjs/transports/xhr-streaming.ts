/** `/xhr_streaming`: frames in one long response. */
import { JAVASCRIPT, type Route } from '../route.ts';

// Browsers show nothing of a response to the page before some 2 KiB have come.
const PRELUDE = `${'h'.repeat(2048)}\n`;

export const xhrStreaming: Route = {
  method: 'POST',
  run(exchange, sessions) {
    sessions.receive(exchange, {
      kind: 'xhr-streaming',
      contentType: JAVASCRIPT,
      prelude: PRELUDE,
      wrap: (frame) => `${frame}\n`,
      limit: sessions.responseLimit,
    });
  },
};
