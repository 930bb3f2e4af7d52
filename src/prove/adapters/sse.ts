/** Server-sent events with `Last-Event-ID`, of any server; and nchan, which has them. */
import { get } from 'node:http';
import {
  type Adapter,
  type AdapterContext,
  type AdapterPage,
  type PageEvents,
  pageAddress,
  takeSettings,
} from '../adapter.ts';
import { Backoff } from './backoff.ts';
import { EventStream } from './event-stream.ts';
import { HttpSender } from './http-sender.ts';

/** How this server is spoken to. */
interface Manner {
  name: string;
  /** Where pages connect and messages are sent, if nothing else is said. */
  page: string;
  send: string;
}

export const sse = (context: AdapterContext): Adapter =>
  streaming(context, { name: 'sse', page: '/events/{user}', send: '/send/{user}' });

/** With `nchan_subscriber` at `/sub/USER` and `nchan_publisher` at `/pub/USER`. */
export const nchan = (context: AdapterContext): Adapter =>
  streaming(context, { name: 'nchan', page: '/sub/{user}', send: '/pub/{user}' });

function streaming(context: AdapterContext, { name, page, send }: Manner): Adapter {
  const { told = 'gap', repeats } = takeSettings(context, name, ['told', 'repeats']);
  const sender = new HttpSender(context, send);
  return {
    name,
    repeats: repeats === 'true',
    open: (request, events) => openStream(pageAddress(request, page), told, events),
    send: (message, signal) => sender.send(message, signal),
    close: () => sender.close(),
  };
}

/** @param told the type of the event by which the server says that messages are missing */
function openStream(url: string, told: string, events: PageEvents): AdapterPage {
  const backoff = new Backoff();
  let lastId = '';
  let end = (): void => {};
  const attempt = (): void => {
    const stream = new EventStream(lastId, ({ type, data }) => {
      if (type === told) events.told(data);
      else if (type === 'message') events.message(data);
    });
    let isOver = false;
    const lost = (why: string): void => {
      if (isOver) return;
      isOver = true;
      request.destroy();
      lastId = stream.lastId;
      events.disconnected(why);
      backoff.again(attempt, Math.min(stream.retry ?? 0, 1000));
    };
    const request = get(url, {
      agent: false,
      headers: {
        accept: 'text/event-stream',
        'cache-control': 'no-store',
        ...(lastId !== '' && { 'last-event-id': lastId }),
      },
    });
    request.on('error', ({ message }) => lost(message));
    request.on('response', (response) => {
      const { statusCode, headers } = response;
      if (statusCode !== 200 || !/^text\/event-stream/i.test(headers['content-type'] ?? '')) {
        lost(`the server answers ${statusCode} ${headers['content-type'] ?? ''}`.trimEnd());
        return;
      }
      backoff.succeeded();
      events.connected();
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        try {
          stream.push(text);
        } catch (error) {
          lost((error as Error).message);
        }
      });
      response.on('error', ({ message }) => lost(message));
      response.on('close', () => lost('the stream has ended'));
    });
    end = () => {
      isOver = true;
      request.destroy();
    };
  };
  attempt();
  return {
    close() {
      backoff.end();
      end();
    },
  };
}
