/**
 * A server for y-websocket's clients (shared documents of Yjs) on tidings/ws: `node examples/ws-yjs.mjs`.
 * Every path is a document; who is connected to it is a topic.
 */
import { createServer } from 'node:http';
import { createDecoder, readVarUint, readVarUint8Array } from 'lib0/decoding';
import { createEncoder, length, toUint8Array, writeVarUint, writeVarUint8Array } from 'lib0/encoding';
import { WebSocketServer } from 'tidings/ws';
import { Awareness, applyAwarenessUpdate, encodeAwarenessUpdate } from 'y-protocols/awareness';
import { readSyncMessage, writeSyncStep1, writeUpdate } from 'y-protocols/sync';
import { Doc } from 'yjs';

const SYNC = 0;
const AWARENESS = 1;
const documents = new Map();

const http = createServer();
const wss = new WebSocketServer({ server: http });

function message(type, write) {
  const encoder = createEncoder();
  writeVarUint(encoder, type);
  write(encoder);
  return toUint8Array(encoder);
}

function open(name) {
  const doc = new Doc();
  const awareness = new Awareness(doc);
  awareness.setLocalState(null);
  doc.on('update', (update) =>
    wss.publish(
      name,
      message(SYNC, (to) => writeUpdate(to, update)),
    ),
  );
  awareness.on('update', ({ added, updated, removed }) => {
    const update = encodeAwarenessUpdate(awareness, [...added, ...updated, ...removed]);
    wss.publish(
      name,
      message(AWARENESS, (to) => writeVarUint8Array(to, update)),
    );
  });
  documents.set(name, { doc, awareness });
  return documents.get(name);
}

function receive(ws, { doc, awareness }, data) {
  const decoder = createDecoder(data);
  if (readVarUint(decoder) === AWARENESS) {
    applyAwarenessUpdate(awareness, readVarUint8Array(decoder), ws);
    return;
  }
  const encoder = createEncoder();
  writeVarUint(encoder, SYNC);
  readSyncMessage(decoder, encoder, doc, ws);
  if (length(encoder) > 1) ws.send(toUint8Array(encoder));
}

wss.on('connection', (ws, request) => {
  const name = request.url.split('?')[0];
  const { doc } = documents.get(name) ?? open(name);
  ws.subscribe(name);
  ws.on('message', (data) => {
    try {
      receive(ws, documents.get(name), data);
    } catch {
      // Whatever is no message of the protocol ends its own connection.
      ws.close(1007, 'this is no message of Yjs');
    }
  });
  ws.send(message(SYNC, (to) => writeSyncStep1(to, doc)));
});

http.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${http.address().port}/`);
});
process.once('SIGTERM', async () => {
  await wss.close({});
  http.close();
  for (const { awareness } of documents.values()) awareness.destroy();
});
