/** Groups 1 to 4: framing, pings and pongs, reserved bits, reserved opcodes (RFC 6455 §5.2, §5.5). */
import { answers, type CaseDefinition, message, type PeerEvent, pong, refuses } from '../case.ts';
import type { SendOptions } from '../endpoint.ts';
import { Opcode } from '../frames.ts';

const hello = Buffer.from('Hello, world!');
const notText = Buffer.from('00fffefdfcfb00ff', 'hex');

function lengths(group: string, isBinary: boolean): CaseDefinition[] {
  const kind = isBinary ? 'binary' : 'text';
  const sizes = [0, 125, 126, 127, 128, 65_535, 65_536, 65_536];
  return sizes.map((size, i) => {
    const chop = i === 7 ? 997 : undefined;
    return {
      id: `${group}.${i + 1}`,
      description: `Sends a ${kind} message of ${size} octets${chop ? `, ${chop} octets at a time` : ''}.`,
      expectation: 'The message comes back as it was; clean close with 1000.',
      start(run) {
        const payload = Buffer.alloc(size, isBinary ? 0xfe : '*');
        answers(run, message(payload, isBinary));
        run.endpoint.sendFrame({ opcode: isBinary ? Opcode.binary : Opcode.text, payload }, { chop });
        run.endpoint.killAfter(chop ? 10_000 : 1000);
      },
    };
  });
}

function ping(id: string, what: string, payload: Buffer, options: SendOptions = {}): CaseDefinition {
  return {
    id,
    description: `Sends a ping ${what}.`,
    expectation: 'A pong with the same payload; clean close with 1000.',
    start(run) {
      answers(run, pong(payload));
      run.endpoint.sendFrame({ opcode: Opcode.ping, payload }, options);
      run.endpoint.closeAfter(2000);
    },
  };
}

function unsolicitedPong(id: string, payload: Buffer): CaseDefinition {
  return {
    id,
    description: `Sends a pong that nobody asked for, with ${payload.length} octets, and closes.`,
    expectation: 'Nothing comes; clean close with 1000.',
    start(run) {
      answers(run);
      run.endpoint.sendFrame({ opcode: Opcode.pong, payload });
      run.endpoint.sendClose(1000);
      run.endpoint.closeAfter(1000);
    },
  };
}

function tenPings(id: string, chop: number | undefined): CaseDefinition {
  return {
    id,
    description: `Sends ten pings${chop ? ', one octet at a time' : ''}.`,
    expectation: 'All their pongs, in order; clean close with 1000.',
    start(run) {
      const payloads = Array.from({ length: 10 }, (_, i) => Buffer.from(`payload-${i}`));
      answers(run, ...payloads.map((payload) => pong(payload)));
      for (const payload of payloads) run.endpoint.sendFrame({ opcode: Opcode.ping, payload }, { chop });
      run.endpoint.closeAfter(3000);
    },
  };
}

const pings: CaseDefinition[] = [
  ping('2.1', 'without payload', Buffer.alloc(0)),
  ping('2.2', 'with a text payload', hello),
  ping('2.3', 'with a payload that is not UTF-8', notText),
  ping('2.4', 'with 125 octets', Buffer.alloc(125, 0xfe)),
  {
    id: '2.5',
    description: 'Sends a ping with 126 octets.',
    expectation: 'The connection is failed with 1002: a control frame holds 125 octets at most (§5.5).',
    start(run) {
      refuses(run, 1002);
      run.endpoint.sendFrame({ opcode: Opcode.ping, payload: Buffer.alloc(126, 0xfe) });
      run.endpoint.killAfter(1000);
    },
  },
  ping('2.6', 'with 125 octets, one octet at a time', Buffer.alloc(125, 0xfe), { chop: 1 }),
  unsolicitedPong('2.7', Buffer.alloc(0)),
  unsolicitedPong('2.8', Buffer.from('unsolicited pong payload')),
  {
    id: '2.9',
    description: 'Sends a pong that nobody asked for, then a ping.',
    expectation: 'A pong to the ping only; clean close with 1000.',
    start(run) {
      const payload = Buffer.from('ping payload');
      answers(run, pong(payload));
      run.endpoint.sendFrame({ opcode: Opcode.pong, payload: Buffer.from('unsolicited pong payload') });
      run.endpoint.sendFrame({ opcode: Opcode.ping, payload });
      run.endpoint.closeAfter(1000);
    },
  },
  tenPings('2.10', undefined),
  tenPings('2.11', 1),
];

/** Each frame in a write of its own, or octet by octet, or all at once. */
const together: SendOptions = {};
const byFrame: SendOptions = { sync: true };
const byOctet: SendOptions = { chop: 1 };

function reservedBits(id: string, rsv: number, options: SendOptions): CaseDefinition {
  return {
    id,
    description: `Sends a text message, another with RSV = ${rsv}, then a ping.`,
    expectation: 'The first comes back; then the connection is failed with 1002, and no pong comes (§5.2).',
    start(run) {
      refuses(run, 1002, message(hello));
      run.endpoint.sendFrame({ opcode: Opcode.text, payload: hello }, options);
      run.endpoint.sendFrame({ opcode: Opcode.text, payload: hello, rsv }, options);
      run.endpoint.sendFrame({ opcode: Opcode.ping }, options);
      run.endpoint.killAfter(1000);
    },
  };
}

function lonelyReservedBits(id: string, rsv: number, opcode: number, payload: Buffer): CaseDefinition {
  return {
    id,
    description: `Sends a frame of opcode ${opcode} with RSV = ${rsv}.`,
    expectation: 'The connection is failed with 1002: no extension gave these bits a meaning (§5.2).',
    start(run) {
      refuses(run, 1002);
      run.endpoint.sendFrame({ opcode, payload, rsv });
      run.endpoint.killAfter(1000);
    },
  };
}

const reserved: CaseDefinition[] = [
  lonelyReservedBits('3.1', 1, Opcode.text, hello),
  reservedBits('3.2', 2, together),
  reservedBits('3.3', 3, byFrame),
  reservedBits('3.4', 4, byOctet),
  lonelyReservedBits('3.5', 5, Opcode.binary, notText),
  lonelyReservedBits('3.6', 6, Opcode.ping, hello),
  lonelyReservedBits('3.7', 7, Opcode.close, Buffer.alloc(0)),
];

function reservedOpcodes(group: string, first: number): CaseDefinition[] {
  return [0, 1, 2, 3, 4].map((i) => {
    const opcode = first + i;
    const payload = i === 1 || i >= 3 ? hello : Buffer.alloc(0);
    const isAlone = i < 2;
    const options = i === 4 ? byOctet : together;
    const events: PeerEvent[] = isAlone ? [] : [message(hello)];
    return {
      id: `${group}.${i + 1}`,
      description: isAlone
        ? `Sends a frame with the reserved opcode ${opcode} and ${payload.length} octets.`
        : `Sends a text message, a frame with the reserved opcode ${opcode} and ${payload.length} octets, then a ping.`,
      expectation: `${isAlone ? '' : 'The message comes back; then t'}${isAlone ? 'T' : ''}he connection is failed with 1002 (§5.2).`,
      start(run) {
        refuses(run, 1002, ...events);
        if (!isAlone) run.endpoint.sendFrame({ opcode: Opcode.text, payload: hello }, options);
        run.endpoint.sendFrame({ opcode, payload }, options);
        if (!isAlone) run.endpoint.sendFrame({ opcode: Opcode.ping }, options);
        run.endpoint.killAfter(1000);
      },
    };
  });
}

export const framingCases: CaseDefinition[] = [
  ...lengths('1.1', false),
  ...lengths('1.2', true),
  ...pings,
  ...reserved,
  ...reservedOpcodes('4.1', 3),
  ...reservedOpcodes('4.2', 11),
];
