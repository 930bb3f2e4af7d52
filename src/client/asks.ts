/** What the page asks and wants an answer to: each is asked for, in order and again after every loss, until it has one. */
import type { ErrorFrame } from '../push/talk/wire.ts';
import { encode } from './encode.ts';
import { randomId } from './identity.ts';
import type { Part } from './part.ts';
import { TOO_BIG } from './reconnect.ts';
import type { Talk } from './talk.ts';

/** Waiting for an answer; more are refused. */
const MAX_UNDER_WAY = 1_000;

interface UnderWay {
  what: string;
  text: string;
  /** It is about what is the user's own. */
  isPersonal: boolean;
  /** Handed to a connection that is still there. */
  isSent: boolean;
  resolve(answer: never): void;
  reject(error: Error): void;
}

export type Asks = ReturnType<typeof createAsks>;

/** Adds itself to the talk. */
export function createAsks({ add, connection, each, isPlain, retry, say }: Talk) {
  const underWay = new Map<string, UnderWay>();

  const send = (ref: string): void =>
    say(() => {
      const one = underWay.get(ref);
      if (one) one.isSent = true;
      return one?.text;
    });
  const take = (ref = ''): UnderWay | undefined => {
    const one = underWay.get(ref);
    underWay.delete(ref);
    return one;
  };
  const answered = (answer: { ref?: string }): void => take(answer.ref)?.resolve(answer as never);

  const part: Part = {
    frames: { published: ['channel epoch offset id', answered] },
    welcome() {
      for (const ref of underWay.keys()) send(ref);
    },
    refused({ ref = '', code }: ErrorFrame, error) {
      const isOurs = underWay.has(ref);
      if (isOurs && code === 'unavailable') retry.later(ref, () => send(ref));
      else take(ref)?.reject(error);
      return isOurs;
    },
    /** Where it was because of a frame that the server finds too long: the longest of these, if any was sent. */
    lost(code) {
      let longest: string | undefined;
      let length = 0;
      for (const [ref, one] of underWay) {
        if (one.isSent && one.text.length > length) {
          longest = ref;
          length = one.text.length;
        }
        one.isSent = false;
      }
      const one = code === TOO_BIG && take(longest);
      if (one) one.reject(new RangeError(`can't ${one.what}: the server does not take that much`));
    },
    closed(error) {
      for (const { reject } of underWay.values()) reject(error);
      underWay.clear();
    },
    /** What was asked in another user's name is not asked in this one's. */
    loaded(isAnother) {
      for (const [ref, { isPersonal }] of underWay)
        if (isAnother && isPersonal) take(ref)?.reject(new Error('it was for another user'));
    },
  };
  add(part);

  /**
   * Resolves with the frame that has the same `ref`, once the server has answered.
   * @param what it is, for errors
   * @throws {TypeError} for what JSON can't say
   */
  const ask = async <Answer>(
    frame: { type: string; [field: string]: unknown },
    what: string,
  ): Promise<Answer> => {
    const why = isPlain
      ? 'plain mode has no way to'
      : connection.state().name === 'closed'
        ? 'the client is closed'
        : underWay.size >= MAX_UNDER_WAY && `${MAX_UNDER_WAY} requests are under way`;
    if (why) throw new Error(`can't ${what}: ${why}`);
    // Among all of the tabs that may share a connection.
    const ref = randomId();
    const text = encode({ ...frame, ref });
    each((part) => part.speaks?.());
    return new Promise<Answer>((resolve, reject) => {
      const isPersonal = frame.type !== 'publish';
      underWay.set(ref, { what, text, isPersonal, isSent: false, resolve, reject });
      send(ref);
    });
  };
  return { ask, answered };
}
