/** Group 5: fragmented messages, and control frames between their fragments (RFC 6455 §5.4). */
import { answers, type CaseDefinition, type CaseRun, message, pong, refuses } from '../case.ts';
import type { SendOptions } from '../endpoint.ts';
import { type FrameSpec, Opcode } from '../frames.ts';

const { continuation, text, ping } = Opcode;
/** The three ways the frames are written; numbered cases go through them in this order. */
const ways: { name: string; options: SendOptions }[] = [
  { name: 'in one write', options: {} },
  { name: 'one write per frame', options: { sync: true } },
  { name: 'one octet at a time', options: { chop: 1 } },
];

function frame(opcode: number, payload: string, fin = true): FrameSpec {
  return { opcode, fin, payload: Buffer.from(payload) };
}

function send(run: CaseRun, frames: FrameSpec[], options: SendOptions): void {
  for (const one of frames) run.endpoint.sendFrame(one, options);
}

function fragmentedControl(id: string, opcode: number, name: string): CaseDefinition {
  return {
    id,
    description: `Sends a ${name} in two fragments.`,
    expectation: 'The connection is failed with 1002: control frames are never fragmented (§5.5).',
    start(run) {
      refuses(run, 1002);
      send(run, [frame(opcode, 'fragment1', false), frame(continuation, 'fragment2')], {});
      run.endpoint.killAfter(1000);
    },
  };
}

function twoFragments(first: number, withPing: boolean): CaseDefinition[] {
  return ways.map(({ name, options }, i) => ({
    id: `5.${first + i}`,
    description: `Sends a text message in two fragments${withPing ? ' with a ping between them' : ''}, ${name}.`,
    expectation: `${withPing ? 'The pong comes first, then the' : 'The'} message comes back whole; clean close.`,
    start(run) {
      answers(run, ...(withPing ? [pong('ping payload')] : []), message('fragment1fragment2'));
      const between = withPing ? [frame(ping, 'ping payload')] : [];
      send(run, [frame(text, 'fragment1', false), ...between, frame(continuation, 'fragment2')], options);
      run.endpoint.closeAfter(1000);
    },
  }));
}

function nothingToContinue(first: number, fin: boolean): CaseDefinition[] {
  return ways.map(({ name, options }, i) => ({
    id: `5.${first + i}`,
    description: `Sends a continuation frame with FIN ${fin} where nothing began, then a text message, ${name}.`,
    expectation: 'The connection is failed with 1002 (§5.4).',
    start(run) {
      refuses(run, 1002);
      send(
        run,
        [frame(continuation, 'non-continuation payload', fin), frame(text, 'Hello, world!')],
        options,
      );
      run.endpoint.killAfter(1000);
    },
  }));
}

function repeatedContinuation(id: string, fin: boolean): CaseDefinition {
  return {
    id,
    description: `Twice: a continuation frame with FIN ${fin} where nothing began, then a message in two fragments.`,
    expectation: 'The connection is failed with 1002 (§5.4).',
    start(run) {
      refuses(run, 1002);
      const frames = [
        frame(continuation, 'fragment1', fin),
        frame(text, 'fragment2', false),
        frame(continuation, 'fragment3'),
      ];
      send(run, [...frames, ...frames], {});
      run.endpoint.killAfter(1000);
    },
  };
}

function pingsInSlowMessage(id: string, options: SendOptions, way: string): CaseDefinition {
  return {
    id,
    description: `Sends two fragments and a ping, waits a second, then two more, another ping and the last one, ${way}.`,
    expectation: 'Each ping is answered at once, the message comes back whole; clean close with 1000.',
    start(run) {
      answers(
        run,
        pong('pongme 1!'),
        pong('pongme 2!'),
        message('fragment1fragment2fragment3fragment4fragment5'),
      );
      send(
        run,
        [frame(text, 'fragment1', false), frame(continuation, 'fragment2', false), frame(ping, 'pongme 1!')],
        options,
      );
      run.endpoint.continueLater(1000, () => {
        send(
          run,
          [
            frame(continuation, 'fragment3', false),
            frame(continuation, 'fragment4', false),
            frame(ping, 'pongme 2!'),
            frame(continuation, 'fragment5'),
          ],
          options,
        );
        run.endpoint.closeAfter(1000);
      });
    },
  };
}

export const fragmentationCases: CaseDefinition[] = [
  fragmentedControl('5.1', ping, 'ping'),
  fragmentedControl('5.2', Opcode.pong, 'pong'),
  ...twoFragments(3, false),
  ...twoFragments(6, true),
  ...nothingToContinue(9, true),
  ...nothingToContinue(12, false),
  {
    id: '5.15',
    description:
      'Sends a message in two fragments, a continuation frame where nothing began, then a text message.',
    expectation: 'The first message comes back; then the connection is failed with 1002 (§5.4).',
    start(run) {
      refuses(run, 1002, message('fragment1fragment2'));
      send(
        run,
        [
          frame(text, 'fragment1', false),
          frame(continuation, 'fragment2'),
          frame(continuation, 'fragment3', false),
          frame(text, 'fragment4'),
        ],
        {},
      );
      run.endpoint.killAfter(1000);
    },
  },
  repeatedContinuation('5.16', false),
  repeatedContinuation('5.17', true),
  {
    id: '5.18',
    description: 'Sends two fragments of which the second has the opcode of a text message, too.',
    expectation: 'The connection is failed with 1002: fragments after the first have opcode 0 (§5.4).',
    start(run) {
      refuses(run, 1002);
      send(run, [frame(text, 'fragment1', false), frame(text, 'fragment2')], {});
      run.endpoint.killAfter(1000);
    },
  },
  pingsInSlowMessage('5.19', {}, 'in one write'),
  pingsInSlowMessage('5.20', { sync: true }, 'one write per frame'),
];
