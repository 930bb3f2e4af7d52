/** Socket.IO on tidings/ws instead of ws, by its own option: `node examples/ws-socketio.mjs`. */
import { createServer } from 'node:http';
import { Server } from 'socket.io';
import { WebSocketServer } from 'tidings/ws';

const http = createServer();
const io = new Server(http, { wsEngine: WebSocketServer });

io.on('connection', (socket) => {
  socket.on('join', (room, joined) => {
    socket.join(room);
    joined(room);
  });
  socket.on('say', (room, ...what) => io.to(room).emit('said', socket.id, ...what));
});

http.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${http.address().port}/`);
});
process.once('SIGTERM', () => io.close());
