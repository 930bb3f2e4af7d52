/** verifyClient in all of its forms, and the types that are named for it. */
import type { IncomingMessage } from 'node:http';
import WebSocket, {
  type ServerOptions,
  type VerifyClientCallbackAsync,
  type VerifyClientCallbackSync,
  WebSocketServer,
} from 'tidings/ws';

const sync: VerifyClientCallbackSync = ({ origin, secure, req }) =>
  origin.endsWith('.example.com') && secure && req.headers.cookie !== undefined;

const async: VerifyClientCallbackAsync<IncomingMessage> = (info, callback) => {
  setTimeout(() => {
    if (info.req.headers.authorization) callback(true);
    else callback(false, 401, 'Unauthorized', { 'WWW-Authenticate': 'Basic' });
  }, 10);
};

function named(info: { origin: string; secure: boolean; req: IncomingMessage }): boolean {
  return info.origin === '' && !info.secure;
}

const namespaced: WebSocket.VerifyClientCallbackSync = (info) => info.req.url === '/';
const also: WebSocket.VerifyClientCallbackAsync = (_info, done) => done(true);

export const options: ServerOptions[] = [
  { noServer: true, verifyClient: sync },
  { noServer: true, verifyClient: async },
  { noServer: true, verifyClient: named },
  { noServer: true, verifyClient: namespaced },
  { noServer: true, verifyClient: also },
  { noServer: true, verifyClient: undefined },
];
const servers = options.map((each: WebSocket.ServerOptions) => new WebSocketServer(each));
new WebSocketServer({ noServer: true, verifyClient: (info, cb) => cb(info.secure, 403) });
new WebSocketServer({
  noServer: true,
  verifyClient: async (info: { req: IncomingMessage }, done: (res: boolean, code?: number) => void) => {
    done(await Promise.resolve(info.req.url === '/'), 403);
  },
});
console.log(servers.length);

// @ts-expect-error it answers with a boolean
const wrong: VerifyClientCallbackSync = () => 'yes';
// @ts-expect-error a function
new WebSocketServer({ noServer: true, verifyClient: true });
console.log(wrong);
