/** The stock sockjs-client 1.6.1, as it runs in Node, with each transport that it has there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import SockJS from 'sockjs-client';
import { until } from '../support/net.ts';
import { echo, startSockJs } from './support.ts';

const TEXTS = ['"quoted\'', '😀 \u0000 \u2028 \ufeff', '</script>', 'x'.repeat(5000)];

for (const transport of ['websocket', 'xhr-streaming', 'eventsource', 'xhr-polling']) {
  test(`${transport}: echo in order, and the client closes`, async () => {
    const closes: number[] = [];
    const { port } = await startSockJs({
      disconnectDelay: 5_000,
      handler: { ...echo, closed: (_, code) => void closes.push(code) },
    });
    const socket = new SockJS(`http://127.0.0.1:${port}/echo`, null, {
      transports: [transport],
      timeout: 60_000,
    });
    const received: string[] = [];
    socket.onopen = () => {
      for (const text of TEXTS) socket.send(text);
    };
    socket.onmessage = ({ data }) => received.push(data);
    await until('the echo', () => received.length === TEXTS.length, 60_000);
    assert.equal((socket as unknown as { transport: string }).transport, transport);
    assert.deepEqual(received, TEXTS);
    socket.close(1000, 'enough');
    await until('the end at the server', () => closes.length === 1, 60_000);
  });

  test(`${transport}: the server closes with 3000 "Go away!"`, async () => {
    const { port } = await startSockJs({
      handler: { opened: (session) => session.close(3000, 'Go away!') },
    });
    const socket = new SockJS(`http://127.0.0.1:${port}/echo`, null, {
      transports: [transport],
      timeout: 60_000,
    });
    let closed: CloseEvent | undefined;
    socket.onclose = (event) => {
      closed = event;
    };
    await until('the close event', () => closed, 60_000);
    assert.deepEqual([closed?.code, closed?.reason], [3000, 'Go away!']);
  });
}
