/** The program once for each store, side by side, as it mostly waits. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * What the first says comes at once, what the others say when they have ended.
 *
 * @param args of the program, without `--store`
 * @returns the worst exit status
 */
export async function runBeside(stores: readonly string[], args: readonly string[]): Promise<number> {
  const ends = stores.map(async (store, i): Promise<{ status: number; said: string }> => {
    const child = spawn(
      process.execPath,
      [...process.execArgv, process.argv[1]!, ...args, '--store', store],
      { stdio: ['ignore', i === 0 ? 'inherit' : 'pipe', 'inherit'] },
    );
    let said = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const [status] = (await once(child, 'close')) as [number | null];
    return { status: status ?? 1, said };
  });
  const all = await Promise.all(ends);
  for (const { said } of all) process.stdout.write(said);
  return Math.max(...all.map(({ status }) => status));
}
