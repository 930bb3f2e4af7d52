/** CommonJS, as TypeScript has always written it. */
import WebSocket = require('tidings/ws');
import http = require('node:http');

const server: http.Server = http.createServer();
const wss = new WebSocket.Server({ server });
const also: WebSocket.WebSocketServer = new WebSocket.WebSocketServer({ noServer: true });
wss.on('connection', (socket: WebSocket, request: http.IncomingMessage) => {
  socket.on('message', (data: WebSocket.RawData) => socket.send(data.toString() + request.url));
});
const client = new WebSocket('ws://localhost', { agent: false as never } as WebSocket.ClientOptions);
WebSocket.createWebSocketStream(client).end();
class Mine extends WebSocket {
  mine = true;
}
const options: WebSocket.ServerOptions<typeof Mine> = { noServer: true, WebSocket: Mine };
for (const each of new WebSocket.Server<typeof Mine>(options).clients) console.log(each.mine, also.options);
export = Mine;
