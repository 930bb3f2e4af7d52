/**
 * The frames of one session, obeyed one after another, so that none overtakes another while the application
 * or the store thinks about the first. Bounded: frames count until they are done.
 */
import { Queue } from '../../queue.ts';

/**
 * Obeys a frame. Nothing to wait for: `undefined`. Otherwise a promise that never rejects; the next frame
 * begins with `proceed`, or at the latest when the promise resolves.
 */
export type Task = (proceed: () => void) => Promise<void> | undefined;

interface Waiting {
  bytes: number;
  task: Task;
}

export class FrameQueue {
  readonly #maxFrames: number;
  readonly #maxBytes: number;
  /** Made when there is something to wait for. */
  #waiting: Queue<Waiting> | undefined;
  #frames = 0;
  #bytes = 0;
  /** A frame is thought about that others may not overtake. */
  #isHeld = false;

  constructor(maxFrames: number, maxBytes: number) {
    this.#maxFrames = maxFrames;
    this.#maxBytes = maxBytes;
  }

  /** False if there is no room. */
  add(bytes: number, task: Task): boolean {
    if (this.#frames > 0 && (this.#frames >= this.#maxFrames || this.#bytes + bytes > this.#maxBytes)) {
      return false;
    }
    this.#frames++;
    this.#bytes += bytes;
    if (!this.#isHeld) this.#begin({ bytes, task });
    else {
      this.#waiting ??= new Queue();
      this.#waiting.add({ bytes, task });
    }
    return true;
  }

  #begin({ bytes, task }: Waiting): void {
    this.#isHeld = true;
    let isOver = false;
    const proceed = (): void => {
      if (isOver) return;
      isOver = true;
      this.#isHeld = false;
      this.#next();
    };
    const done = task(proceed);
    if (done === undefined) {
      this.#forget(bytes);
      if (!isOver) this.#isHeld = false;
      isOver = true;
      return;
    }
    void done.then(() => {
      this.#forget(bytes);
      proceed();
    });
  }

  #next(): void {
    while (!this.#isHeld) {
      const next = this.#waiting?.take();
      if (next === undefined) {
        this.#waiting = undefined;
        return;
      }
      this.#begin(next);
    }
  }

  #forget(bytes: number): void {
    this.#frames--;
    this.#bytes -= bytes;
  }
}
