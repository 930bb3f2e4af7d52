/**
 * What the Autobahn suite doesn't ask: masking, length forms, newer close codes, and the corners of RFC 7692.
 * Numbered T.1 and so on, and counted apart from the 517.
 */
import { answers, type CaseDefinition, type CaseRun, message, pong, refuses } from '../case.ts';
import type { DeflateRequest } from '../deflate.ts';
import { type FrameSpec, Opcode, randomMaskKey } from '../frames.ts';

const hello = Buffer.from('Hello');
const deflate: DeflateRequest[] = [{ noContextTakeover: false, maxWindowBits: 0 }];

interface Outline {
  description: string;
  /** The codes that the peer may fail the connection with; without any, it must answer with `echoes`. */
  refusedWith?: number[];
  echoes?: string[];
  deflate?: DeflateRequest[];
  send(run: CaseRun): void;
}

/** The opposite of what the role demands (§5.1). */
function wronglyMasked(run: CaseRun, frame: FrameSpec): FrameSpec {
  return { ...frame, maskKey: run.endpoint.role === 'client' ? undefined : randomMaskKey() };
}

function oneFrame(description: string, frame: FrameSpec, ...refusedWith: number[]): Outline {
  return { description, refusedWith, send: ({ endpoint }) => endpoint.sendFrame(frame) };
}

/** «Hello», compressed as RFC 7692 §7.2.3 shows it. */
function example(description: string, hex: string): Outline {
  return {
    description,
    deflate,
    echoes: ['Hello'],
    send: ({ endpoint }) =>
      endpoint.sendFrame({ opcode: Opcode.text, rsv: 4, payload: Buffer.from(hex, 'hex') }),
  };
}

const outlines: Outline[] = [
  {
    description: 'Sends a text message with the masking that the other role has.',
    refusedWith: [1002],
    send: (run) => run.endpoint.sendFrame(wronglyMasked(run, { opcode: Opcode.text, payload: hello })),
  },
  {
    description: 'Sends a ping with the masking that the other role has.',
    refusedWith: [1002],
    send: (run) => run.endpoint.sendFrame(wronglyMasked(run, { opcode: Opcode.ping, payload: hello })),
  },
  oneFrame(
    'Sends 5 octets of text with a length in 16 bits.',
    { opcode: Opcode.text, payload: hello, lengthForm: 16 },
    1002,
  ),
  oneFrame(
    'Sends 5 octets of text with a length in 64 bits.',
    { opcode: Opcode.text, payload: hello, lengthForm: 64 },
    1002,
  ),
  oneFrame(
    'Sends 300 octets with a length in 64 bits.',
    { opcode: Opcode.binary, payload: Buffer.alloc(300), lengthForm: 64 },
    1002,
  ),
  oneFrame(
    'Sends a frame whose 64-bit length has its top bit set.',
    { opcode: Opcode.binary, claimedLength: 2n ** 63n },
    1002,
  ),
  oneFrame(
    'Sends a frame that claims 2^62 octets.',
    { opcode: Opcode.binary, claimedLength: 2n ** 62n },
    1009,
  ),
  {
    description: 'Sends a ping between two octets of a character.',
    echoes: ['é'],
    send({ endpoint }) {
      endpoint.sendFrame({ opcode: Opcode.text, fin: false, payload: Buffer.from([0xc3]) });
      endpoint.sendFrame({ opcode: Opcode.ping, payload: hello });
      endpoint.sendFrame({ opcode: Opcode.continuation, payload: Buffer.from([0xa9]) });
    },
  },
  {
    description: 'Sends RSV1 on a continuation frame, with permessage-deflate agreed.',
    refusedWith: [1002],
    deflate,
    send({ endpoint }) {
      const payload = endpoint.compress(hello);
      endpoint.sendFrame({ opcode: Opcode.text, fin: false, rsv: 4, payload: payload.subarray(0, 2) });
      endpoint.sendFrame({ opcode: Opcode.continuation, rsv: 4, payload: payload.subarray(2) });
    },
  },
  {
    ...oneFrame(
      'Sends RSV1 on a ping, with permessage-deflate agreed.',
      { opcode: Opcode.ping, rsv: 4, payload: hello },
      1002,
    ),
    deflate,
  },
  {
    ...oneFrame(
      'Sends RSV2 on a text message, with permessage-deflate agreed.',
      { opcode: Opcode.text, rsv: 2, payload: hello },
      1002,
    ),
    deflate,
  },
  {
    ...oneFrame(
      'Sends a compressed message that does not inflate.',
      { opcode: Opcode.binary, rsv: 4, payload: Buffer.from('ffffffffff', 'hex') },
      // RFC 7692 §6.2 says that the connection is failed, but not with which code.
      1007,
      1002,
      1010,
    ),
    deflate,
  },
  {
    description: 'Sends compressed text that is not UTF-8.',
    refusedWith: [1007],
    deflate,
    send: ({ endpoint }) => endpoint.sendMessage(Buffer.from('eda080', 'hex'), false),
  },
  {
    description: 'Sends an uncompressed message between two compressed ones.',
    echoes: ['Hello', 'Hello', 'Hello'],
    deflate,
    send({ endpoint }) {
      endpoint.sendMessage(hello, false);
      endpoint.sendFrame({ opcode: Opcode.text, payload: hello });
      endpoint.sendMessage(hello, false);
    },
  },
  {
    description: 'Sends an empty message, compressed.',
    echoes: [''],
    deflate,
    send: ({ endpoint }) => endpoint.sendMessage(Buffer.alloc(0), false),
  },
  {
    description: 'Sends a compressed message in two fragments with a ping between them.',
    echoes: ['Hello'],
    deflate,
    send({ endpoint }) {
      const payload = endpoint.compress(hello);
      endpoint.sendFrame({ opcode: Opcode.text, fin: false, rsv: 4, payload: payload.subarray(0, 3) });
      endpoint.sendFrame({ opcode: Opcode.ping, payload: hello });
      endpoint.sendFrame({ opcode: Opcode.continuation, payload: payload.subarray(3) });
    },
  },
  {
    description: 'Sends the same message twice, the second as a reference to the first, RFC 7692 §7.2.3.2.',
    echoes: ['Hello', 'Hello'],
    deflate,
    send({ endpoint }) {
      const first = 'f248cdc9c90700';
      // A peer may have answered that our context does not last.
      const second = endpoint.deflate?.own.noContextTakeover ? first : 'f200110000';
      for (const hex of [first, second]) {
        endpoint.sendFrame({ opcode: Opcode.text, rsv: 4, payload: Buffer.from(hex, 'hex') });
      }
    },
  },
  example('Sends a block without compression, RFC 7692 §7.2.3.3.', '000500faff48656c6c6f00'),
  example('Sends a block with BFINAL, RFC 7692 §7.2.3.4.', 'f348cdc9c9070000'),
  example('Sends two blocks in one message, RFC 7692 §7.2.3.5.', 'f24805000000ffffcac9c90700'),
];

const closeCodes: [code: number, isValid: boolean][] = [
  [1012, true],
  [1013, true],
  [1014, true],
  [1015, false],
];

export const casesBeyondAutobahn: CaseDefinition[] = [
  ...outlines.map((outline, i): CaseDefinition => {
    const { description, refusedWith, echoes = [], send } = outline;
    const withPing = description.includes('a ping between');
    return {
      id: `T.${i + 1}`,
      description,
      expectation:
        refusedWith === undefined
          ? 'All messages come back; clean close with 1000.'
          : `The connection is failed with ${refusedWith.join(' or ')}.`,
      ...(outline.deflate && { deflate: outline.deflate }),
      start(run) {
        if (refusedWith === undefined) {
          answers(run, ...(withPing ? [pong(hello)] : []), ...echoes.map((echo) => message(echo)));
        } else {
          refuses(run, 1002);
          run.expectedClose.codes = refusedWith;
          run.expectedClose.wrongEndpointIsFatal = true;
        }
        send(run);
        run.endpoint.killAfter(1000);
      },
    };
  }),
  ...closeCodes.map(
    ([code, isValid], i): CaseDefinition => ({
      id: `T.${outlines.length + i + 1}`,
      description: `Sends a Close frame with the ${isValid ? 'registered' : 'reserved'} code ${code}.`,
      expectation: isValid
        ? `A clean close with 1000 or ${code}.`
        : 'A close with 1002, or the end of the connection.',
      start(run) {
        run.closesByItself = true;
        run.expected = { OK: [] };
        const codes = isValid ? [1000, code] : [1002];
        run.expectedClose = { closedByMe: true, codes, requireClean: isValid };
        run.endpoint.sendClose(code);
        run.endpoint.killAfter(1000);
      },
    }),
  ),
];
