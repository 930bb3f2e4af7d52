/** Blocks of code in a page. */
export interface Block {
  /** What stands behind the backquotes, such as `js`. */
  language: string;
  text: string;
  /** The line that it begins at, counted from 1. */
  line: number;
}

export function blocksWithLines(page: string): Block[] {
  return [...page.matchAll(/^ *```([\w-]*)[^\n]*\n(.*?)^ *```$/gms)].map(
    ({ index, 1: language, 2: text }) => ({
      language: language!,
      text: text!,
      line: page.slice(0, index).split('\n').length + 1,
    }),
  );
}

export const blocks = (page: string): [language: string, text: string][] =>
  blocksWithLines(page).map(({ language, text }) => [language, text]);
