/**
 * What is gone of each channel, and what the user has done with the messages of his inbox, as the server says it: the
 * whole of it each time. Tells the page which messages it was handed are gone.
 */
import { INBOX, type StateSnapshot, type WirePosition } from '../push/talk/wire.ts';
import { are, has, isFlag, isOffset, isPosition, isRecord, isText, listOf } from './frames.ts';
import { includes } from './ranges.ts';
import type { Talk } from './talk.ts';

const REQUIRED = 'version first last most gone';

/** @param inbox called with each state of the inbox */
export function addStates({ add, channels, emit, here }: Talk, inbox: (state: StateSnapshot) => void): void {
  const versions = new Map<string, WirePosition>();

  const take = (channel: string, state: StateSnapshot): void => {
    versions.set(channel, state.version);
    const ids = channels.ids(channel);
    const withdrawn = [...(ids ?? [])].filter(
      ([, position]) => position && includes(state.gone, position.offset),
    );
    for (const [id] of withdrawn) ids?.set(id, undefined);
    if (channel === INBOX) inbox(state);
    for (const [id, position] of withdrawn)
      emit('withdrawn', { channel, id, position: position as WirePosition });
  };
  const areRanges = listOf((range) => listOf(isOffset)(range) && (range as unknown[]).length === 2);
  are(isPosition, 'version before');
  are(isOffset, 'first last most changed');
  are(areRanges, 'seen read');
  are((value) => isFlag(value) || areRanges(value), 'gone archived');
  // Of a channel; in a history it is a word.
  are(
    (value) => isText(value) || (has(value, REQUIRED) && areRanges((value as StateSnapshot).gone)),
    'state',
  );

  add({
    frames: { state: [`channel ${REQUIRED}`, here((frame) => take(frame.channel, frame))] },
    hello(hello) {
      if (versions.size > 0) hello.states = Object.fromEntries(versions);
    },
    begun(channel, { state, recovered }) {
      const ids = channels.ids(channel);
      // What was handed out is of a log that is gone, or too old for anybody to withdraw it.
      if (ids && !recovered) for (const id of ids.keys()) ids.set(id, undefined);
      if (isRecord(state)) take(channel, state);
    },
    message({ channel, id, gone }) {
      if (gone) channels.ids(channel)?.set(id, undefined);
    },
    handled(channel, position) {
      if (!position) versions.delete(channel);
    },
    loaded(isAnother) {
      if (isAnother) versions.clear();
    },
  });
}
