/** What went over the wire in a case, as text for a terminal. */
import type { CaseResult } from './runner.ts';

/** Lines of one case; long ones are in the report of a folder. */
const MOST = 60;

export function framesOf({ id, httpRequest, httpResponse, wirelog }: CaseResult): string {
  const head = (arrow: string, text: string): string[] =>
    text
      .trimEnd()
      .split(/\r?\n/)
      .filter((line) => line !== '')
      .map((line) => `  ${arrow} ${plain(line)}`);
  const entries = wirelog.map(({ at, kind, text }) => {
    const time = String(Math.round(at)).padStart(6);
    return `  ${time} ms  ${kind.padEnd(15)}  ${plain(text)}`;
  });
  const more = entries.length - MOST;
  return [
    `${id} on the wire:`,
    ...head('>', httpRequest),
    ...head('<', httpResponse),
    ...entries.slice(0, MOST),
    ...(more > 0 ? [`  … and ${more} more: --outdir FOLDER has them`] : []),
  ].join('\n');
}

/** What a peer has sent may hold anything: a terminal is sent no control characters. */
function plain(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '·');
}
