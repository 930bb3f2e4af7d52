/** The adapters that there are, and those in files of users. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Adapter, type AdapterContext, AdapterError, type AdapterFactory } from '../adapter.ts';
import { socketio } from './socketio.ts';
import { nchan, sse } from './sse.ts';
import { plain, tidings } from './tidings.ts';
import { ws } from './ws.ts';

export const adapters: Readonly<Record<string, AdapterFactory>> = {
  tidings,
  plain,
  socketio,
  sse,
  nchan,
  ws,
};

/**
 * @param name of one of these, or the path of a module whose default export is a factory
 * @throws {AdapterError}
 */
export async function adapterNamed(name: string, context: AdapterContext): Promise<Adapter> {
  const factory = Object.hasOwn(adapters, name) ? adapters[name]! : await load(name);
  const adapter = await factory(context);
  for (const method of ['open', 'send'] as const) {
    if (typeof adapter?.[method] !== 'function')
      throw new AdapterError(`the adapter ${name} has no ${method}()`);
  }
  if (typeof adapter.name !== 'string') throw new AdapterError(`the adapter ${name} has no name`);
  return adapter;
}

async function load(name: string): Promise<AdapterFactory> {
  const path = resolve(name);
  if (!existsSync(path)) {
    throw new AdapterError(
      `--adapter '${name}' is neither a file nor one of ${Object.keys(adapters).join(', ')}`,
    );
  }
  let found: { default?: unknown };
  try {
    // Not for bundlers: it is a file of who calls the program.
    found = await import(/* webpackIgnore: true */ /* @vite-ignore */ pathToFileURL(path).href);
  } catch (error) {
    throw new AdapterError(`--adapter ${name} can't be loaded: ${(error as Error).message}`);
  }
  if (typeof found.default !== 'function') {
    throw new AdapterError(`--adapter ${name} has no function as its default export`);
  }
  return found.default as AdapterFactory;
}
