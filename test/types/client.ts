/** What the client's types promise to a page in TypeScript. `npm run lint` compiles this; nothing runs it. */
import { type Client, type ConnectionState, connect, type Position } from '../../src/client/index.ts';

interface Mail {
  subject: string;
}

const client: Client<Mail> = connect<Mail>({
  reconnect: { mode: 'fixed', delay: 1 },
  ticket: async () => 't',
});

client.on('message', ({ data, position }) => {
  const subject: string = data.subject;
  const known: Position | undefined = position;
  return [subject, known];
});
client.on('state', (state) => {
  if (state.name === 'waiting') return state.until - state.delay;
  // @ts-expect-error only a state that waits has a time to wait until
  return state.until;
});
const off: () => void = client.on('gap', ({ reason }) => reason === 'trimmed');
const state: ConnectionState = client.state;

// @ts-expect-error there is no such event
client.on('massage', () => {});
// @ts-expect-error data of unknown type can't be used unseen
connect().on('message', ({ data }) => data.subject);
// @ts-expect-error a fixed pace has no span to begin with
connect({ reconnect: { mode: 'fixed', min: 1 } });

export { off, state };
