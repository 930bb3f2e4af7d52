/**
 * SockJS (protocol 0.3.3) by fetch, for pages whose WebSocket does not get through: frames come in one long
 * response (`/xhr_streaming`) or one by one (`/xhr`), what is sent goes as requests of its own (`/xhr_send`).
 */
import { encode } from './encode.ts';
import { randomId } from './identity.ts';
import { type TransportFactory, textOf } from './transport.ts';

/** Bodies up to this length may outlive the page (Fetch standard §4.6: 64 KiB for all that are under way). */
const KEEPALIVE = 20_000;

/**
 * The subprotocol goes as the query parameter `protocol`, a ticket as `ticket`: SockJS has no other place.
 * @param endpoint of the SockJS server, absolute or relative to the WebSocket's URL
 * @param path `xhr_streaming`, or `xhr` where a proxy holds responses back until they are complete
 */
export function sockJsTransport(
  endpoint: string | undefined,
  path: 'xhr_streaming' | 'xhr',
): TransportFactory {
  return (wsUrl, protocols, events) => {
    const from = new URL(wsUrl.replace(/^ws/, 'http'));
    const base = endpoint === undefined ? new URL(from) : new URL(endpoint, from);
    if (endpoint === undefined) base.pathname = `/sockjs${from.pathname}`;
    for (const [name, value] of from.searchParams) base.searchParams.set(name, value);
    for (const protocol of protocols) {
      if (protocol.startsWith('ticket.')) base.searchParams.set('ticket', protocol.slice(7));
      else base.searchParams.set('protocol', protocol);
    }
    const session = `${base.origin}${base.pathname}/${100 + Math.floor(Math.random() * 900)}/${randomId()}/`;
    const controller = new AbortController();
    const outgoing: string[] = [];
    let sending: Promise<void> | undefined;
    let isOpen = false;
    let isOver = false;

    const end = (code: number, reason: string): void => {
      if (isOver) return;
      isOver = true;
      controller.abort();
      events.close(code, reason);
    };
    const request = async (name: string, options: RequestInit): Promise<Response> => {
      const response = await fetch(session + name, { method: 'POST', credentials: 'include', ...options });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      return response;
    };

    const frame = (text: string): void => {
      if (isOver || text === '') return;
      const type = text[0];
      if (type === 'a') for (const message of JSON.parse(text.slice(1))) isOver || events.message(message);
      else if (type === 'c') end(...(JSON.parse(text.slice(1)) as [number, string]));
      else if (type === 'o') {
        // A second one is of another session: this one is gone, and what it had with it.
        if (isOpen) end(1006, 'the session is gone');
        else {
          isOpen = true;
          events.open();
        }
      }
    };
    const receive = async (): Promise<void> => {
      while (!isOver) {
        const { signal } = controller;
        const { body } = await request(path + base.search, { signal });
        const reader = (body as ReadableStream<Uint8Array>).getReader();
        const decoder = new TextDecoder();
        let rest = '';
        let frames = 0;
        for (let part = await reader.read(); !part.done; part = await reader.read()) {
          const lines = (rest + decoder.decode(part.value, { stream: true })).split('\n');
          rest = lines.pop() as string;
          frames += lines.length;
          lines.forEach(frame);
        }
        if (frames === 0) throw new Error('an empty answer');
      }
    };
    const pump = async (): Promise<void> => {
      while (outgoing.length > 0) {
        const body = encode(outgoing.splice(0));
        // With what signs in, too: the network may have another address by now.
        await request(`xhr_send${base.search}`, { body, keepalive: body.length < KEEPALIVE });
      }
    };

    const failed = (error: unknown): void => end(1006, textOf(error));
    receive().catch(failed);
    return {
      send(text) {
        outgoing.push(text);
        // Everything of this turn goes in one request; one request at a time keeps the order.
        sending ??= Promise.resolve()
          .then(pump)
          .catch(failed)
          .finally(() => {
            sending = undefined;
          });
      },
      close() {
        isOver = true;
        Promise.resolve(sending).finally(() => controller.abort());
      },
    };
  };
}
