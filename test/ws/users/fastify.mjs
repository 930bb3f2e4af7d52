/** @fastify/websocket as it is: where it says `require('ws')` it gets what is installed under that name. */
import websocket from '@fastify/websocket';
import fastify from 'fastify';

const app = fastify();
await app.register(websocket, { options: { maxPayload: 1024 } });
app.get('/echo/:name', { websocket: true }, (socket, request) => {
  socket.on('message', (data, isBinary) => socket.send(`${request.params.name}: ${data} ${isBinary}`));
});
app.get('/broadcast', { websocket: true }, (socket) => {
  socket.on('message', (data) => {
    for (const client of app.websocketServer.clients) {
      if (client.readyState === client.OPEN) client.send(String(data));
    }
  });
});
app.get('/page', async () => 'a page');
process.once('SIGTERM', () => app.close());
await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' });
console.log(`listening on http://127.0.0.1:${app.server.address().port}/`);
