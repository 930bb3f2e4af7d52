const WebSocket = require('tidings/ws');

exports.WebSocket = WebSocket;
exports.isOurs = (ws) => ws instanceof WebSocket && ws instanceof WebSocket.WebSocket;
