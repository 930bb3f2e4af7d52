/** `/jsonp_send`: the client's messages from a form (field `d`), or as plain JSON text. */
import { answer, deliver, type Route } from '../route.ts';

export const jsonpSend: Route = {
  method: 'POST',
  run(exchange, sessions) {
    const isForm = (exchange.request.headers['content-type'] ?? '').startsWith(
      'application/x-www-form-urlencoded',
    );
    return deliver(
      exchange,
      sessions,
      (body) => (isForm ? (new URLSearchParams(body).get('d') ?? '') : body),
      // Konqueror did odd things on 204.
      () => answer(exchange.response, 200, 'ok'),
    );
  },
};
