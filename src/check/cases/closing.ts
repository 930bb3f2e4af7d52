/** Group 7: the closing handshake with every kind of code and reason (RFC 6455 §5.5.1, §7). */
import { answers, type CaseDefinition, type CaseRun, message } from '../case.ts';
import { Opcode } from '../frames.ts';

const notUtf8 = Buffer.from('cebae1bdb9cf83cebcceb5eda080656469746564', 'hex');

/** The closing is the case, so a wrong code fails it; without `codes` a clean close with 1000 is asked for. */
function closing(
  id: string,
  description: string,
  act: (run: CaseRun) => void,
  codes = [1000],
): CaseDefinition {
  const isClean = codes.includes(1000);
  return {
    id,
    description,
    expectation: isClean
      ? `A clean close with ${codes.join(' or ')}, and nothing else.`
      : `A close with ${codes.join(' or ')}, or the end of the TCP connection.`,
    start(run) {
      run.closesByItself = true;
      run.expected = { OK: [] };
      run.expectedClose = { closedByMe: true, codes, requireClean: isClean };
      run.amend = () => wrongCodeFails(run);
      act(run);
      run.endpoint.killAfter(1000);
    },
  };
}

function wrongCodeFails(run: CaseRun): void {
  if (run.behaviorClose === 'WRONG CODE') {
    run.behavior = 'FAILED';
    run.result = run.resultClose;
  }
}

function informational(run: CaseRun, result: () => string): void {
  run.amend = () => {
    run.result = result();
    run.behavior = 'INFORMATIONAL';
    run.behaviorClose = 'INFORMATIONAL';
  };
}

const handshakes: CaseDefinition[] = [
  {
    id: '7.1.1',
    description: 'Sends a text message and closes.',
    expectation: 'The message comes back; clean close with 1000.',
    start(run) {
      answers(run, message('Hello World!'));
      run.amend = () => wrongCodeFails(run);
      run.endpoint.sendFrame({ opcode: Opcode.text, payload: Buffer.from('Hello World!') });
      run.endpoint.killAfter(1000);
    },
  },
  closing('7.1.2', 'Sends two Close frames.', ({ endpoint }) => {
    endpoint.sendClose(1000);
    endpoint.sendFrame({ opcode: Opcode.close });
  }),
  closing('7.1.3', 'Sends a ping behind the Close frame.', ({ endpoint }) => {
    endpoint.sendClose(1000);
    endpoint.sendFrame({ opcode: Opcode.ping });
  }),
  closing('7.1.4', 'Sends a text message behind the Close frame.', ({ endpoint }) => {
    endpoint.sendClose(1000);
    endpoint.sendFrame({ opcode: Opcode.text, payload: Buffer.from('Hello World!') });
  }),
  closing('7.1.5', 'Sends a Close frame between the two fragments of a message.', ({ endpoint }) => {
    endpoint.sendFrame({ opcode: Opcode.text, fin: false, payload: Buffer.from('fragment1') });
    endpoint.sendClose(1000);
    endpoint.sendFrame({ opcode: Opcode.continuation, payload: Buffer.from('fragment2') });
  }),
  {
    id: '7.1.6',
    description: 'Sends a message of 256 KiB, a short one, a Close frame and a ping.',
    expectation: 'Informational: whether the answers come before the closing is left open.',
    start(run) {
      run.closesByItself = true;
      const { endpoint } = run;
      const big = Buffer.alloc(256 * 1024, 'BAsd7&jh23');
      const short = Buffer.from('Hello World!');
      run.expectedClose = { closedByMe: true, codes: [1000], requireClean: true };
      informational(run, () =>
        run.received.length === 2
          ? 'Both messages came back before the close.'
          : `${run.received.length} of 2 messages came back before the close.`,
      );
      endpoint.sendFrame({ opcode: Opcode.text, payload: big });
      endpoint.sendFrame({ opcode: Opcode.text, payload: short });
      endpoint.sendClose(1000);
      endpoint.sendFrame({ opcode: Opcode.ping });
      endpoint.killAfter(1000);
    },
  },
];

const payloads: CaseDefinition[] = [
  closing('7.3.1', 'Sends a Close frame without payload.', ({ endpoint }) => endpoint.sendClose()),
  closing(
    '7.3.2',
    'Sends a Close frame with a payload of one octet.',
    ({ endpoint }) => endpoint.sendClose(undefined, Buffer.from('a')),
    [1002],
  ),
  closing('7.3.3', 'Sends a Close frame with a code.', ({ endpoint }) => endpoint.sendClose(1000)),
  closing('7.3.4', 'Sends a Close frame with a code and a reason.', ({ endpoint }) =>
    endpoint.sendClose(1000, Buffer.from('Hello World!')),
  ),
  closing('7.3.5', 'Sends a Close frame with the longest reason, 123 octets.', ({ endpoint }) =>
    endpoint.sendClose(1000, Buffer.alloc(123, '*')),
  ),
  closing(
    '7.3.6',
    'Sends a Close frame with a reason of 124 octets, so that its payload is too long.',
    ({ endpoint }) => endpoint.sendClose(1000, Buffer.alloc(124, '*')),
    [1002],
  ),
  closing(
    '7.5.1',
    'Sends a Close frame with a reason that is not UTF-8.',
    ({ endpoint }) => endpoint.sendClose(1000, notUtf8),
    [1002, 1007],
  ),
];

const validCodes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
const invalidCodes = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999];
const undefinedCodes = [5000, 65_535];

export const closingCases: CaseDefinition[] = [
  ...handshakes,
  ...payloads,
  ...validCodes.map((code, i) =>
    closing(
      `7.7.${i + 1}`,
      `Sends a Close frame with the valid code ${code}.`,
      ({ endpoint }) => endpoint.sendClose(code),
      [1000, code],
    ),
  ),
  ...invalidCodes.map((code, i) =>
    closing(
      `7.9.${i + 1}`,
      `Sends a Close frame with the invalid code ${code}.`,
      ({ endpoint }) => endpoint.sendClose(code),
      [1002],
    ),
  ),
  ...undefinedCodes.map(
    (code, i): CaseDefinition => ({
      id: `7.13.${i + 1}`,
      description: `Sends a Close frame with the code ${code}.`,
      expectation: 'Informational: the RFC says nothing of codes from 5000 on.',
      start(run) {
        run.closesByItself = true;
        run.expectedClose = { closedByMe: true, codes: [1000, code, 1002], requireClean: false };
        informational(run, () => `The peer closed with ${run.endpoint.ending.remoteCloseCode ?? 'no code'}.`);
        run.endpoint.sendClose(code);
        run.endpoint.killAfter(1000);
      },
    }),
  ),
];
