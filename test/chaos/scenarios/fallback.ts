/** What happens to pages whose WebSocket does not get through: they are here by SockJS. */
import { sockJsTransport } from '../../../src/client/sockjs-transport.ts';
import type { Scenario } from '../scenario.ts';
import type { Setting, Stage } from '../stage.ts';
import { clientCut } from './connections.ts';
import { instanceKilled } from './instances.ts';

/** Nothing sticks: each request can come to another instance than the session's, and is passed on. */
const setting: Setting = {
  options: { sockjs: { prefix: '/sockjs/socketServer' } },
  client: (i) => ({ transport: sockJsTransport(undefined, i % 2 === 0 ? 'xhr_streaming' : 'xhr') }),
};

export const fallbackCut: Scenario = {
  name: 'fallback-cut',
  what: 'as client-cut, with pages by SockJS, half of them streaming, half polling',
  expects: 'complete',
  happensTo: 'pages',
  setting,
  play: (stage) => comingBack(stage, clientCut),
};

export const fallbackInstanceKilled: Scenario = {
  name: 'fallback-kill',
  what: 'as instance-kill, with pages by SockJS, half of them streaming, half polling',
  expects: 'complete',
  happensTo: 'instances',
  setting,
  play: (stage) => comingBack(stage, instanceKilled),
};

async function comingBack(stage: Stage, scenario: Scenario): Promise<void> {
  const count = (): number => stage.pages.reduce((sum, page) => sum + page.connections, 0);
  const before = count();
  await scenario.play(stage);
  const again = count() - before;
  stage.note(`pages lost their session and came back ${again} times`);
  stage.check(again > 0, 'no page had to come back: the scenario proves nothing');
}
