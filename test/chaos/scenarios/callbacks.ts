/** An application whose callbacks throw, reject and hang: it costs whoever it was called for, and nobody else. */
import { WebSocket } from '../../../src/ws.ts';
import { misbehaviours } from '../misbehaviour.ts';
import type { Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

const HELLO = JSON.stringify({ type: 'hello' });

export const callbacks: Scenario = {
  name: 'callbacks',
  what: 'interceptors, authorize, the handler and resolve throw, reject, hang, and give what can not be encoded; pages of others go on',
  expects: 'complete',
  happensTo: 'pages',
  setting: { isFaulty: true, client: { heartbeat: { interval: 5000, timeout: 5000 } } },
  async play(stage) {
    for (let round = 0; round < (stage.plan.isShort ? 2 : 8); round++) {
      await stage.more(0.1);
      const sockets = misbehaviours.flatMap((how) => visitors(stage, how));
      await references(stage);
      await stage.recovered();
      for (const socket of sockets) socket.terminate();
    }
    await stage.until('all of them to be gone', async () => (await stage.sessions()) === stage.pages.length);
    const [ends] = stage.pages.map((page) => page.ends.join(', ')).filter((text) => text !== '');
    stage.check(ends === undefined, `a page lost its connection to others' callbacks: ${ends}`);
    // What was stored by reference is delivered in its place, with its data or without.
    const sent = stage.foreignSent;
    await stage.until('references to be delivered', () =>
      stage.pages.every(({ user, foreign }) => (foreign.get(`user:${user}`) ?? 0) >= (sent.get(user) ?? 0)),
    );
  },
};

/** One for each callback, at each instance. */
function visitors(stage: Stage, how: string): WebSocket[] {
  const places = ['before', 'after', 'opened', 'message', 'closed', 'error', 'none'];
  return stage.instances.flatMap(({ port }) =>
    places.flatMap((where) =>
      [['tidings.1'], []].map((protocols) => {
        const socket = new WebSocket(`ws://127.0.0.1:${port}/socketServer?user=${where}-${how}`, protocols);
        socket.on('error', () => {});
        socket.on('open', () => {
          if (protocols.length === 0) {
            socket.send('a message of plain mode');
            // A frame that breaks the rules, for transportError.
            if (where === 'error') socket.terminate();
            return;
          }
          socket.send(HELLO);
          for (const type of ['subscribe', 'unsubscribe', 'publish', 'publish'])
            socket.send(JSON.stringify({ type, channel: `${type}-${how}`, data: 1, ref: '1' }));
          if (where === 'closed') socket.close();
        });
        return socket;
      }),
    ),
  );
}

/** References to every user, good ones among them. */
async function references(stage: Stage): Promise<void> {
  const keys = (user: string): string[] => [
    ...misbehaviours.map((how) => `resolve-${how}`),
    ...['undefined', 'bigint', 'gone', 'good'].map((what) => `${user}-${what}`),
  ];
  const [instance] = stage.instances;
  await Promise.all(
    stage.users.flatMap((user) =>
      keys(user).map(async (key) => {
        // Refused at once, or stored: then it is delivered.
        const isStored = await instance!
          .ask(`/reference/${user}`, { method: 'POST', body: JSON.stringify({ key }) })
          .then(
            () => true,
            () => false,
          );
        if (isStored) stage.foreignSent.set(user, (stage.foreignSent.get(user) ?? 0) + 1);
      }),
    ),
  );
}
