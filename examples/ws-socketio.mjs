/** Socket.IO on tidings/ws instead of ws, by its own option: `node examples/ws-socketio.mjs`. */
import { createServer } from 'node:http';
import { Server } from 'socket.io';
import { WebSocketServer } from 'tidings/ws';

const http = createServer();
const io = new Server(http, { wsEngine: WebSocketServer });

io.on('connection', (socket) => {
  // What a client sends may be anything, and what a listener throws ends the process.
  socket.on('join', (room, joined) => {
    if (typeof room !== 'string') return;
    socket.join(room);
    if (typeof joined === 'function') joined(room);
  });
  socket.on('say', (room, ...what) => {
    if (typeof room === 'string') io.to(room).emit('said', socket.id, ...what);
  });
});

http.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${http.address().port}/`);
});
process.once('SIGTERM', () => io.close());
