/** The browser's way of listening, and the types of its events. */
import WebSocket, {
  type CloseEvent,
  type Data,
  type ErrorEvent,
  type Event,
  type MessageEvent,
} from 'tidings/ws';

const ws = new WebSocket('wss://localhost');
ws.onopen = (event: Event) => console.log(event.type, event.target.url);
ws.onmessage = (event) => {
  const data: Data = event.data;
  if (typeof data === 'string') console.log(data.trim());
  else if (Buffer.isBuffer(data)) console.log(data.readUInt8(0));
  else if (data instanceof ArrayBuffer) console.log(data.byteLength);
  else console.log(Buffer.concat(data).length);
};
ws.onmessage = ({ data }: WebSocket.MessageEvent) => console.log(JSON.parse(data as string).type);
ws.onclose = (event: CloseEvent) => console.log(event.wasClean, event.code + 1, event.reason.length);
ws.onerror = (event: ErrorEvent) => console.log(event.message, event.error.code);
ws.onopen = null;

const onMessage = (event: MessageEvent): void => console.log(event.data.toString());
ws.addEventListener('message', onMessage);
ws.addEventListener('message', onMessage, { once: true });
ws.removeEventListener('message', onMessage);
ws.addEventListener('close', (event) => console.log(event.code, event.target === ws));
ws.addEventListener('error', ({ error }) => console.log(error?.errno));
ws.addEventListener('open', { handleEvent: (event) => console.log(event.type) });
const listens: WebSocket.EventListenerOptions = { once: true };
ws.addEventListener('open', () => {}, listens);

function opened(socket: WebSocket): Promise<WebSocket.Event> {
  return new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve);
    socket.addEventListener('error', (event: WebSocket.ErrorEvent) => reject(event.error));
  });
}
void opened(ws);
type Keys = keyof WebSocket.WebSocketEventMap;
export const keys: Keys[] = ['open', 'message', 'close', 'error'];
export const closed: WebSocket.CloseEvent = {
  type: 'close',
  target: ws,
  wasClean: true,
  code: 1000,
  reason: '',
};

// @ts-expect-error no such event
ws.addEventListener('data', () => {});
// @ts-expect-error it may be bytes
ws.onmessage = (event) => event.data.trim();
// @ts-expect-error codes are numbers
ws.onclose = (event) => event.code.trim();
