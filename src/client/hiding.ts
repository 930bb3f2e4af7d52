/**
 * A hidden tab gives a connection up where these are scarce: others may need it more. Nothing is lost, as its positions
 * stay; it comes back when it is shown, or has something to say.
 */
import type { Talk } from './talk.ts';
import { isHidden } from './wake.ts';

/** Milliseconds that a tab was hidden for. */
const PATIENCE = 10_000;

export function addHiding({ add, connection, flush, isPlain }: Talk): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const isPaused = (): boolean => connection.state().name === 'paused';
  const stop = (): void => clearTimeout(timer);
  const hide = (): void => {
    stop();
    if (isPlain || !connection.transport()?.isScarce) return;
    timer = setTimeout(() => {
      if (!connection.isConnected() || !isHidden()) return;
      flush();
      connection.end(1000, 'hidden');
      connection.setState({ name: 'paused' });
    }, PATIENCE);
  };
  add({
    left: hide,
    lost: stop,
    welcome() {
      if (isHidden()) hide();
    },
    woke() {
      stop();
      if (isPaused() && !isHidden()) connection.open();
    },
    speaks() {
      if (isPaused()) connection.open();
    },
  });
}
