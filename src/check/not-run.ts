/** What an interrupted check has left: which cases were cut off, and which never began. */
import type { CaseDefinition } from './case.ts';
import type { Progress } from './progress.ts';

export interface NotRun {
  /** The cases that were under way, with what each waited for. */
  cut: { id: string; waitedFor: string }[];
  /** All cases without a result, those that were cut off among them. */
  ids: string[];
  /** As text: `9.*, 12.1.*, 13.1.4`. */
  shortly: string;
}

/** Undefined where every case has a result. */
export function notRun(definitions: CaseDefinition[], progress: Progress): NotRun | undefined {
  const ids = definitions.map(({ id }) => id).filter((id) => !progress.results.has(id));
  if (ids.length === 0) return undefined;
  const cut = [...progress.running.values()].map(({ id, waitsFor }) => ({ id, waitedFor: waitsFor() }));
  const all = definitions.map(({ id }) => id);
  return { cut, ids, shortly: shorten(ids, all).join(', ') };
}

/** Puts a pattern where all cases of a group or sub-group are among `ids`. */
function shorten(ids: string[], all: string[]): string[] {
  const missing = new Set(ids);
  const names = ids.map((id) => {
    const parts = id.split('.');
    for (let length = 1; length < parts.length; length++) {
      const prefix = `${parts.slice(0, length).join('.')}.`;
      if (all.every((one) => !one.startsWith(prefix) || missing.has(one))) return `${prefix}*`;
    }
    return id;
  });
  return [...new Set(names)];
}
