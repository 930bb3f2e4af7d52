/** What servers of tests have in common: as whom they run, where they keep their data, and their end. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, statfsSync } from 'node:fs';
import { freemem, tmpdir } from 'node:os';
import { join } from 'node:path';

/** Kills it, as a crash would, if it runs. */
export async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

const MEMORY = '/dev/shm';
/** Bytes: with less than that nothing is kept in memory. */
const ROOM = 2 * 1024 ** 3;

/**
 * A new folder for the data of a server: in memory, where there is room. On a disk thousands of files that come and go take the
 * processor's time: ext4 looks at each that was removed within the last minutes before it makes one more.
 */
export function dataFolder(server: string): string {
  return mkdtempSync(join(hasRoom() ? MEMORY : tmpdir(), `tidings-${server}-`));
}

function hasRoom(): boolean {
  try {
    const { bavail, bsize } = statfsSync(MEMORY);
    return Math.min(bavail * bsize, freemem()) > ROOM;
  } catch {
    return false;
  }
}

/** For servers that refuse to run as root: the user of this name, or nobody. Undefined where we are not root. */
export function userToRunAs(own: string): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  for (const name of [own, 'nobody']) {
    const line = lines.find((entry) => entry.startsWith(`${name}:`));
    const [, , uid, gid] = line?.split(':') ?? [];
    if (uid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  return { uid: 65_534, gid: 65_534 };
}
