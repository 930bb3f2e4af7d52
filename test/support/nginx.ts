/** Debian's nginx with a configuration of ours, as any user and without a file outside of its folder. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export type Replacement = readonly [from: string, to: string];

/** A file of the repository with replacements that must each be found. */
export function editedText(path: string, replacements: readonly Replacement[]): string {
  let text = readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
  for (const [from, to] of replacements) {
    if (!text.includes(from)) throw new Error(`${path} has no ${from}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

/** What nginx is started with, in one process. Errors go to `error.log` in the folder. @param site for the http block */
export function nginxArguments(folder: string, site: string): string[] {
  writeFileSync(join(folder, 'site.conf'), site);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  );
  writeFileSync(
    join(folder, 'main.conf'),
    `${process.getuid?.() === 0 ? 'user root;' : ''} daemon off; master_process off; pid ${folder}/pid;
     error_log ${folder}/error.log; events { worker_connections 256; }
     http { access_log off; ${temporary.join(' ')} include ${folder}/site.conf; }`,
  );
  return ['-p', folder, '-e', join(folder, 'error.log'), '-c', join(folder, 'main.conf')];
}
