/** Command lines of servers, for a shell. */
import { fileURLToPath } from 'node:url';
import { find, typescript } from '../../support/programs.ts';

/** A program of JavaScript. */
export function command(...words: (string | number)[]): string {
  return [process.execPath, ...words].map((word) => `'${word}'`).join(' ');
}

/** One of this folder, from its source. */
export function serverCommand(name: string, ...args: string[]): string {
  return command(...typescript, fileURLToPath(new URL(`${name}.ts`, import.meta.url)), ...args);
}

/** A Redis that has written to its log what it has answered. */
export function redisCommand(port: number, folder: string): string {
  const settings = [
    '--bind 127.0.0.1',
    `--dir '${folder}'`,
    "--save ''",
    '--appendonly yes',
    '--appendfsync always',
  ];
  return `'${find('redis')}' --port ${port} ${settings.join(' ')}`;
}
