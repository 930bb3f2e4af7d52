/** Socket.IO: pages by its own client, which is loaded when it is asked for; messages by a POST to the application. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Adapter, type AdapterContext, AdapterError, takeSettings } from '../adapter.ts';
import { HttpSender } from './http-sender.ts';

/** As much of the package as is used here. */
interface Library {
  io(url: string, options: object): Socket;
}

interface Socket {
  /** Of connection state recovery: whether the server has given what was missed. */
  recovered: boolean;
  /** What recovery knows a session by: only servers that have it switched on give one. */
  _pid?: string;
  on(event: 'connect', listener: () => void): void;
  on(event: 'disconnect', listener: (reason: string) => void): void;
  /** `description` has an event of the WebSocket, which says more. */
  on(event: 'connect_error', listener: (error: Error & { description?: { message?: string } }) => void): void;
  onAny(listener: (event: string, ...data: unknown[]) => void): void;
  disconnect(): void;
}

const NAME = 'socket.io-client';

export async function socketio(context: AdapterContext): Promise<Adapter> {
  const {
    event = 'message',
    told,
    repeats,
  } = takeSettings(context, 'socketio', ['event', 'told', 'repeats']);
  const sender = new HttpSender(context, '/send/{user}');
  const { io } = await loadLibrary();
  return {
    name: 'socketio',
    repeats: repeats === 'true',
    open({ url, user }, events) {
      const { origin, pathname } = new URL(url.replace(/^ws/, 'http'));
      const socket = io(origin, {
        ...(pathname !== '/' && { path: pathname }),
        transports: ['websocket'],
        auth: { user },
        query: { user },
        forceNew: true,
        reconnectionDelay: 50,
        reconnectionDelayMax: 1000,
        timeout: 5000,
      });
      let isAgain = false;
      socket.on('connect', () => {
        // With recovery it is told: without, this flag is false at any time and tells nothing.
        if (isAgain && socket._pid !== undefined && !socket.recovered) events.told('not recovered');
        isAgain = true;
        events.connected();
      });
      socket.on('disconnect', (reason) => events.disconnected(reason));
      socket.on('connect_error', ({ message, description }) =>
        events.disconnected([message, description?.message ?? ''].filter(Boolean).join(': ')),
      );
      socket.onAny((name, data) => {
        if (name === told) events.told();
        else if (name === event) events.message(typeof data === 'string' ? data : JSON.stringify(data));
      });
      return { close: () => socket.disconnect() };
    },
    send: (message, signal) => sender.send(message, signal),
    close: () => sender.close(),
  };
}

/** Beside tidings, or in the project that the command is run in. @throws {AdapterError} saying what to install */
export async function loadLibrary(name: string = NAME, folder: string = process.cwd()): Promise<Library> {
  for (const find of [
    () => name,
    () => pathToFileURL(createRequire(join(folder, 'x.js')).resolve(name)).href,
  ]) {
    try {
      // Not for bundlers, which would look for it where it was never installed.
      const found = await import(/* webpackIgnore: true */ /* @vite-ignore */ find());
      const library = found.io === undefined ? found.default : found;
      if (typeof library?.io === 'function') return library as Library;
    } catch {
      // Not there: the next place.
    }
  }
  throw new AdapterError(`the adapter socketio needs the package ${name}: npm install ${name}`);
}
