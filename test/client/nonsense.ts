/** What no server should say after its welcome, and what it would do to a client that believes it. */
import { at } from './scripted-server.ts';

const message = { type: 'message', channel: 'inbox', ...at(9), time: 1, data: 'x' };
const state = { position: at(0), recovered: true };
const snapshot = { version: at(0), first: 1, last: 0, most: 10, seen: [], read: [], archived: [], gone: [] };
const welcome = { type: 'welcome', session: 's', instance: 'i', user: 'alice', channels: {} };

/** After each of these nothing is known for sure: the client comes back, and says why. */
export const nonsense: Record<string, string | Uint8Array> = {
  'half a frame': '{"type":',
  'an empty text': '',
  binary: new Uint8Array([123, 125]),
  'a binary frame that would be one': new TextEncoder().encode('{"type":"pong"}'),
  null: 'null',
  'a number': '17',
  'a string': '"pong"',
  'an array': '[{"type":"pong"}]',
  'no type': '{}',
  'a type that is no string': '{"type":{"toString":1}}',
  'a message without anything': '{"type":"message"}',
  ...Object.fromEntries(
    Object.entries({
      'a message without a channel': { ...message, channel: undefined },
      'a message of a channel that is a number': { ...message, channel: 7 },
      'a message without an offset': { ...message, offset: undefined },
      'an offset that is a string': { ...message, offset: '9' },
      'an offset that is too large': { ...message, offset: 2 ** 53 },
      'a negative offset': { ...message, offset: -1 },
      'half an offset': { ...message, offset: 0.5 },
      'an epoch that is null': { ...message, epoch: null },
      'an id that is an object': { ...message, id: {} },
      'a message without data': { ...message, data: undefined },
      'a time that is a word': { ...message, time: 'noon' },
      'bytes that are no base64': { ...message, data: 'ä', encoding: 'base64' },
      'bytes that are a number': { ...message, data: 7, encoding: 'base64' },
      'bytes in another encoding': { ...message, encoding: 'hex' },
      'a transient without a channel': { type: 'transient', data: 1 },
      'a gap without a position': { type: 'gap', channel: 'inbox', recovered: false },
      'a gap at null': { ...state, type: 'gap', channel: 'inbox', position: null },
      'subscribed without a channel': { ...state, type: 'subscribed' },
      'subscribed, recovered: "yes"': { ...state, type: 'subscribed', channel: 'news', recovered: 'yes' },
      'unsubscribed from nothing': { type: 'unsubscribed' },
      'presence nowhere': { type: 'presence', total: 1 },
      'presence without a number': { type: 'presence', channel: 'room', users: ['bob'] },
      'presence of nobody': { type: 'presence', channel: 'room', total: 1, users: null },
      'presence of numbers': { type: 'presence', channel: 'room', total: 1, joined: [1] },
      'presence of one string': { type: 'presence', channel: 'room', total: 1, left: 'bob' },
      'acked by nobody': { type: 'acked', channel: 'inbox', position: at(1) },
      'published nowhere': { type: 'published', ref: '1' },
      'published with a ref that is an array': { type: 'published', channel: 'x', ref: [], ...at(1) },
      'a drain without a window': { type: 'drain' },
      'a drain in the past': { type: 'drain', window: -1 },
      'an error without a word': { type: 'error' },
      'a status of seven': { type: 'status', behind: 7 },
      'a state without a version': { ...snapshot, type: 'state', channel: 'inbox', version: undefined },
      'a state of nothing': { ...snapshot, type: 'state' },
      'ranges that are words': { ...snapshot, type: 'state', channel: 'inbox', seen: 'all' },
      'a range of one': { ...snapshot, type: 'state', channel: 'inbox', read: [[1]] },
      'a range from half': { ...snapshot, type: 'state', channel: 'inbox', gone: [[0.5, 1]] },
      'a range that is an object': {
        ...snapshot,
        type: 'state',
        channel: 'inbox',
        archived: [{ 0: 1, 1: 2 }],
      },
      'a first that is below nothing': { ...snapshot, type: 'state', channel: 'inbox', first: -1 },
      'a most that is a word': { ...snapshot, type: 'state', channel: 'inbox', most: 'all' },
      'a gap with half a state': { ...state, type: 'gap', channel: 'inbox', state: { version: at(0) } },
      'a subscribed whose state is true': { ...state, type: 'subscribed', channel: 'news', state: true },
      'a message of a history in half a state': {
        type: 'history',
        ref: '1',
        messages: [{ ...at(1), time: 1, data: 1, state: snapshot }],
      },
      'marked without a version': { type: 'marked', ref: '1', changed: 1 },
      'marked, changed -1': { type: 'marked', ref: '1', changed: -1, version: at(1) },
      'a history without messages': { type: 'history', ref: '1' },
      'a history of nothing': { type: 'history', ref: '1', messages: [null] },
      'a history of messages without an id': {
        type: 'history',
        ref: '1',
        messages: [{ ...at(1), id: undefined }],
      },
      'a history before nowhere': { type: 'history', ref: '1', messages: [], before: 7 },
      'a second welcome': welcome,
    }).map(([name, frame]) => [name, JSON.stringify(frame)]),
  ),
  'a drain of 1e999': '{"type":"drain","window":1e999}',
};

/** In place of a welcome. */
export const welcomes: Record<string, string> = Object.fromEntries(
  Object.entries({
    'no channels': { ...welcome, channels: undefined },
    'channels in an array': { ...welcome, channels: [] },
    'a channel that is null': { ...welcome, channels: { inbox: null } },
    'a channel without a position': { ...welcome, channels: { inbox: { recovered: true } } },
    'an inbox in half a state': { ...welcome, channels: { inbox: { ...state, state: { gone: [] } } } },
    'a user who is a number': { ...welcome, user: 5 },
    'no session': { ...welcome, session: undefined },
    'times that are words': { ...welcome, heartbeat: { interval: 'often', timeout: 'never' } },
    'negative times': { ...welcome, heartbeat: { interval: -5, timeout: -5 } },
  }).map(([name, frame]) => [name, JSON.stringify(frame)]),
);
