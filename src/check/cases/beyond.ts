/**
 * What the Autobahn suite doesn't ask: masking, length forms, newer close codes, and the corners of RFC 7692.
 * Numbered T.1 and so on, and counted apart from the 517.
 */
import { answers, type CaseDefinition, type CaseRun, message, pong, type Tolerance } from '../case.ts';
import type { DeflateRequest } from '../deflate.ts';
import { type FrameSpec, Opcode, randomMaskKey } from '../frames.ts';

const hello = Buffer.from('Hello');
const deflate: DeflateRequest[] = [{ noContextTakeover: false, maxWindowBits: 0 }];

/**
 * What the RFC asks of the receiver decides: a MUST fails whoever does otherwise, a SHOULD or a MAY makes it
 * non-strict. The code of a Close frame is never more than a SHOULD (§7.1.7, §7.4.1).
 */
interface Outline {
  description: string;
  /** What the RFC says of the receiver, and where. */
  clause: string;
  /** The codes that the peer may best fail the connection with; without any, it must answer with `echoes`. */
  refusedWith?: number[];
  /** What a peer may do instead that need not fail the connection. */
  tolerance?: Tolerance;
  echoes?: string[];
  deflate?: DeflateRequest[];
  send(run: CaseRun): void;
}

const mustClose = '§5.1: who receives it MUST close the connection, and MAY do so with 1002.';
const shortestForm = '§5.2: the shortest form is a MUST for the sender; nothing is asked of the receiver.';
const pingAtOnce = '§5.4, §5.5.2: a ping may come here, MUST be answered, and SHOULD be at once.';
const perMessageBit = 'RFC 7692 §6: who receives RSV1 there MUST fail the connection.';
const anyBlock =
  'RFC 7692 §7.2.1: blocks MAY be of any type and number, with BFINAL or without; §7.2.2: who receives them inflates them.';

/** Waits for octets that never come. */
const waits: Tolerance = { events: [], canClose: false };

/** The opposite of what the role demands (§5.1). */
function wronglyMasked(run: CaseRun, frame: FrameSpec): FrameSpec {
  return { ...frame, maskKey: run.endpoint.role === 'client' ? undefined : randomMaskKey() };
}

function oneFrame(description: string, clause: string, frame: FrameSpec, ...refusedWith: number[]): Outline {
  return { description, clause, refusedWith, send: ({ endpoint }) => endpoint.sendFrame(frame) };
}

/** A length in more bits than it needs, which a peer may as well take. */
function longForm(what: string, isBinary: boolean, payload: Buffer, lengthForm: 16 | 64): Outline {
  return {
    ...oneFrame(
      `Sends ${what} with a length in ${lengthForm} bits.`,
      shortestForm,
      { opcode: isBinary ? Opcode.binary : Opcode.text, payload, lengthForm },
      1002,
    ),
    tolerance: { events: [message(payload, isBinary)], canClose: true },
  };
}

/** «Hello», compressed as RFC 7692 §7.2.3 shows it. */
function example(description: string, hex: string): Outline {
  return {
    description,
    clause: anyBlock,
    deflate,
    echoes: ['Hello'],
    send: ({ endpoint }) =>
      endpoint.sendFrame({ opcode: Opcode.text, rsv: 4, payload: Buffer.from(hex, 'hex') }),
  };
}

const outlines: Outline[] = [
  {
    description: 'Sends a text message with the masking that the other role has.',
    clause: mustClose,
    refusedWith: [1002],
    send: (run) => run.endpoint.sendFrame(wronglyMasked(run, { opcode: Opcode.text, payload: hello })),
  },
  {
    description: 'Sends a ping with the masking that the other role has.',
    clause: mustClose,
    refusedWith: [1002],
    send: (run) => run.endpoint.sendFrame(wronglyMasked(run, { opcode: Opcode.ping, payload: hello })),
  },
  longForm('5 octets of text', false, hello, 16),
  longForm('5 octets of text', false, hello, 64),
  longForm('300 octets', true, Buffer.alloc(300), 64),
  {
    ...oneFrame(
      'Sends a frame whose 64-bit length has its top bit set.',
      '§5.2: the top bit MUST be 0, which binds the sender; §10.4: a limit on frames is a SHOULD.',
      { opcode: Opcode.binary, claimedLength: 2n ** 63n },
      1002,
    ),
    tolerance: waits,
  },
  {
    ...oneFrame(
      'Sends a frame that claims 2^62 octets.',
      '§10.4: a limit on the size of frames is a SHOULD.',
      { opcode: Opcode.binary, claimedLength: 2n ** 62n },
      1009,
    ),
    tolerance: waits,
  },
  {
    description: 'Sends a ping between two octets of a character.',
    clause: pingAtOnce,
    echoes: ['é'],
    send({ endpoint }) {
      endpoint.sendFrame({ opcode: Opcode.text, fin: false, payload: Buffer.from([0xc3]) });
      endpoint.sendFrame({ opcode: Opcode.ping, payload: hello });
      endpoint.sendFrame({ opcode: Opcode.continuation, payload: Buffer.from([0xa9]) });
    },
  },
  {
    description: 'Sends RSV1 on a continuation frame, with permessage-deflate agreed.',
    clause: perMessageBit,
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
      perMessageBit,
      { opcode: Opcode.ping, rsv: 4, payload: hello },
      1002,
    ),
    deflate,
  },
  {
    ...oneFrame(
      'Sends RSV2 on a text message, with permessage-deflate agreed.',
      '§5.2: who receives a bit that no extension has defined MUST fail the connection.',
      { opcode: Opcode.text, rsv: 2, payload: hello },
      1002,
    ),
    deflate,
  },
  {
    ...oneFrame(
      'Sends a compressed message that does not inflate.',
      '§10.7: data MUST be validated; who is faced with invalid data MAY drop the connection.',
      { opcode: Opcode.binary, rsv: 4, payload: Buffer.from('ffffffffff', 'hex') },
      1007,
      1002,
      1010,
    ),
    tolerance: { events: [], canClose: true },
    deflate,
  },
  {
    description: 'Sends compressed text that is not UTF-8.',
    clause: '§8.1: who finds that text is not UTF-8 MUST fail the connection.',
    refusedWith: [1007],
    deflate,
    send: ({ endpoint }) => endpoint.sendMessage(Buffer.from('eda080', 'hex'), false),
  },
  {
    description: 'Sends an uncompressed message between two compressed ones.',
    clause: 'RFC 7692 §6.2: a message whose first frame has no RSV1 is taken as it is.',
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
    clause: anyBlock,
    echoes: [''],
    deflate,
    send: ({ endpoint }) => endpoint.sendMessage(Buffer.alloc(0), false),
  },
  {
    description: 'Sends a compressed message in two fragments with a ping between them.',
    clause: pingAtOnce,
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
    clause:
      'RFC 7692 §7.2.3.2: unless no context takeover was agreed on, the window lasts from message to message.',
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

const registered =
  '§7.4.2: the code is registered, but later than the RFC, which asks nothing of who does not know it.';
const closeCodes: [code: number, isValid: boolean, clause: string][] = [
  [1012, true, registered],
  [1013, true, registered],
  [1014, true, registered],
  [1015, false, '§7.4.1: it MUST NOT be sent; nothing is asked of who receives it but not to send it back.'],
];

function expectationOf({ refusedWith, tolerance, clause }: Outline): string {
  if (refusedWith === undefined) return `All messages come back; clean close with 1000. ${clause}`;
  const instead = tolerance ? ', and so is a connection that is not failed' : '';
  return `The connection is failed with ${refusedWith.join(' or ')}; another code is non-strict${instead}. ${clause}`;
}

function startOutline(
  run: CaseRun,
  { description, refusedWith, tolerance, echoes = [], send }: Outline,
): void {
  if (refusedWith === undefined) {
    const messages = echoes.map((echo) => message(echo));
    const hasPing = description.includes('a ping between');
    answers(run, ...(hasPing ? [pong(hello)] : []), ...messages);
    if (hasPing) run.expected['NON-STRICT'] = [...messages, pong(hello)];
  } else {
    run.expected = { OK: [] };
    run.expectedClose = { closedByMe: false, codes: refusedWith, requireClean: false, codeIsOpen: true };
    if (tolerance) run.tolerance = tolerance;
    else run.expectedClose.wrongEndpointIsFatal = true;
  }
  send(run);
  run.endpoint.killAfter(1000);
}

export const casesBeyondAutobahn: CaseDefinition[] = [
  ...outlines.map(
    (outline, i): CaseDefinition => ({
      id: `T.${i + 1}`,
      description: outline.description,
      expectation: expectationOf(outline),
      ...(outline.deflate && { deflate: outline.deflate }),
      start: (run) => startOutline(run, outline),
    }),
  ),
  ...closeCodes.map(
    ([code, isValid, clause], i): CaseDefinition => ({
      id: `T.${outlines.length + i + 1}`,
      description: `Sends a Close frame with the ${isValid ? 'registered' : 'reserved'} code ${code}.`,
      expectation: `${isValid ? `A clean close with 1000 or ${code}` : 'A close with 1002, or the end of the connection'}; another code is non-strict. ${clause}`,
      start(run) {
        run.closesByItself = true;
        run.expected = { OK: [] };
        const codes = isValid ? [1000, code] : [1002];
        run.expectedClose = { closedByMe: true, codes, requireClean: isValid, codeIsOpen: true };
        run.endpoint.sendClose(code);
        run.endpoint.killAfter(1000);
      },
    }),
  ),
];
