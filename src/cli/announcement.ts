/** What `tidings serve` prints when it is ready: one line for each endpoint; scripts wait for them. */
import { relative } from 'node:path';
import type { LogOutput } from './log-output.ts';
import type { Places } from './serve-instance.ts';
import type { ServeSettings } from './serve-settings.ts';

export function announce(settings: ServeSettings, { http, admin, policy }: Places, output: LogOutput): void {
  const { path, sockjs, demo, adminToken } = settings;
  const scheme = schemeOf(settings);
  output.announce(`${scheme}://${http}/`);
  output.announce(`${scheme === 'https' ? 'wss' : 'ws'}://${http}${path}`);
  if (sockjs !== 'off') output.announce(`${scheme}://${http}${sockjs}`);
  if (policy !== undefined) output.announce(`policy://${policy}`);
  if (demo && settings.logFormat === 'text') {
    console.log(`open ${scheme}://${http}/ in two windows, or send from another terminal:`);
    console.log(`  ${programName()} send alice "hello" --url ${scheme}://${http} --token ${adminToken[0]}`);
  }
  if (admin !== undefined) output.announce(`${scheme}://${admin}/admin`);
}

/** What its ports are reached by. */
export function schemeOf({ tlsCert }: Pick<ServeSettings, 'tlsCert'>): 'http' | 'https' {
  return tlsCert === undefined ? 'http' : 'https';
}

/** How the user has called this program, so that the line above can be pasted. */
function programName(): string {
  const path = relative('.', process.argv[1] ?? '');
  return path.endsWith('.js') || path.endsWith('.ts') ? `node ${path}` : 'tidings';
}
