/** Draws lines on a terminal again and again, of which only those are written that have changed: nothing flickers. */

export interface Terminal {
  columns?: number;
  rows?: number;
  write(text: string): unknown;
  on(event: 'resize', listener: () => void): unknown;
  removeListener(event: 'resize', listener: () => void): unknown;
}

const ENTER = '\u001b[?1049h\u001b[?25l\u001b[2J';
const LEAVE = '\u001b[?25h\u001b[?1049l';

/** On the terminal's other screen, so that what was there before is there again afterwards. */
export class Screen {
  readonly #terminal: Terminal;
  #lines: string[] = [];
  #shown: string[] = [];

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    terminal.write(ENTER);
    terminal.on('resize', this.#redraw);
  }

  /** Characters that a line may have. */
  get width(): number {
    return this.#terminal.columns || 80;
  }

  get height(): number {
    return this.#terminal.rows || 24;
  }

  draw(lines: string[]): void {
    this.#lines = lines;
    const fitting = lines.slice(0, this.height).map((line) => line.slice(0, this.width));
    const changes: string[] = [];
    for (let row = 0; row < Math.max(fitting.length, this.#shown.length); row++) {
      const line = fitting[row] ?? '';
      if (line !== this.#shown[row]) changes.push(`\u001b[${row + 1};1H${line}\u001b[K`);
    }
    this.#shown = fitting;
    if (changes.length > 0) this.#terminal.write(changes.join(''));
  }

  leave(): void {
    this.#terminal.removeListener('resize', this.#redraw);
    this.#terminal.write(LEAVE);
  }

  readonly #redraw = (): void => {
    this.#shown = [];
    this.#terminal.write('\u001b[2J');
    this.draw(this.#lines);
  };
}
