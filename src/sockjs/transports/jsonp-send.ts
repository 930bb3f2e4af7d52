/** `/jsonp_send`: the client's messages from a form (field `d`), or as plain JSON text. */
import { answer, deliver, type Form, PLAIN, type Route } from '../route.ts';

/** Each byte may be written as `%XX`. */
const FIELD: Form = { factor: 3, decode: (body) => new URLSearchParams(body).get('d') ?? '' };

export const jsonpSend: Route = {
  method: 'POST',
  run(exchange, sessions) {
    const isForm = (exchange.request.headers['content-type'] ?? '').startsWith(
      'application/x-www-form-urlencoded',
    );
    // Konqueror did odd things on 204.
    return deliver(exchange, sessions, isForm ? FIELD : PLAIN, () => answer(exchange.response, 200, 'ok'));
  },
};
