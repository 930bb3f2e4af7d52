/** CommonJS without esModuleInterop: the star is the class. */

import type { Server } from 'tidings/ws';
import * as WebSocket from 'tidings/ws';

const socket: WebSocket = new WebSocket('ws://localhost');
const wss: Server = new WebSocket.Server({ port: 0 });
wss.on('connection', (ws: WebSocket) => ws.send('x'));
socket.on('message', (data: WebSocket.Data) => console.log(data));
