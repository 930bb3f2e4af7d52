/** The services that SockJS protocol suites expect, open to pages of any origin. */
import { createServer } from 'node:http';
import { type SockJsOptions, SockJsServer } from '../../src/sockjs/index.ts';
import { listening, peerOptions, portOf } from './peer-options.ts';

const { port, host } = await peerOptions();
const http = createServer((_request, response) => response.writeHead(404).end());
// A suite may be slow between two requests.
const patient = { disconnectDelay: 120_000, heartbeatDelay: 120_000 };
http.keepAliveTimeout = 120_000;

function service(
  prefix: string,
  handler: SockJsOptions['handler'],
  options: Partial<SockJsOptions> = {},
): void {
  new SockJsServer({ server: http, prefix, handler, origins: '*', hixie76: true, ...patient, ...options });
}

const echo: SockJsOptions['handler'] = {
  message: (session, data) => {
    session.send(data.toString());
  },
};
service('/echo', echo, { responseLimit: 4096 });
service('/disabled_websocket_echo', echo, { websocket: false });
service('/cookie_needed_echo', echo, { jsessionid: true });
service('/close', { opened: (session) => session.close(3000, 'Go away!') });
service('/amplify', {
  message(session, data) {
    const power = Math.floor(Number(data));
    session.send('x'.repeat(2 ** (power > 0 && power < 19 ? power : 1)));
  },
});
const everybody = new Set<Parameters<NonNullable<SockJsOptions['handler']['opened']>>[0]>();
service('/broadcast', {
  opened: (session) => void everybody.add(session),
  message(_session, data) {
    for (const session of everybody) session.send(data.toString());
  },
  closed: (session) => void everybody.delete(session),
});

http.listen(port, host, () => listening('http', host, portOf(http)));
