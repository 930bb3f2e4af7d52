/** Group 6: text that is UTF-8, is not, and stops being it in the middle of a message (RFC 6455 §8.1). */
import { answers, type CaseDefinition, type CaseRun, message, refuses } from '../case.ts';
import { Opcode } from '../frames.ts';

/** κόσμε, with U+1F79, which takes three octets. */
const kosme = Buffer.from('cebae1bdb9cf83cebcceb5', 'hex');
const greeting = Buffer.from('Hello-µ@ßöäüàá-UTF-8!!');
const edited = Buffer.from('edited');
/** κόσμε, a surrogate, which UTF-8 can't hold, and more text. */
const withSurrogate = Buffer.concat([kosme, Buffer.from('eda080', 'hex'), edited]);
/** κόσμε, U+110000, which is beyond Unicode: wrong from its second octet on, and more text. */
const beyondUnicode = Buffer.concat([kosme, Buffer.from('f4908080', 'hex'), edited]);

function refusesText(run: CaseRun): void {
  refuses(run, 1007);
  run.expectedClose.wrongEndpointIsFatal = true;
}

function fragmented(id: string, description: string, pieces: Buffer[], isValid = true): CaseDefinition {
  return {
    id,
    description,
    expectation: isValid
      ? 'The message comes back; clean close with 1000.'
      : 'The connection is failed with 1007.',
    start(run) {
      if (isValid) answers(run, message(Buffer.concat(pieces)));
      else refusesText(run);
      pieces.forEach((payload, i) => {
        const opcode = i === 0 ? Opcode.text : Opcode.continuation;
        run.endpoint.sendFrame({ opcode, payload, fin: i === pieces.length - 1 });
      });
      if (isValid) run.endpoint.closeAfter(1000);
      else run.endpoint.killAfter(1000);
    },
  };
}

function octets(data: Buffer): Buffer[] {
  return [...data].map((octet) => Buffer.from([octet]));
}

const none = Buffer.alloc(0);
const half = greeting.indexOf('ü');

const basic: CaseDefinition[] = [
  fragmented('6.1.1', 'Sends an empty text message.', [none]),
  fragmented('6.1.2', 'Sends a text message of three empty fragments.', [none, none, none]),
  fragmented('6.1.3', 'Sends a text message of three fragments of which only the middle one is not empty.', [
    none,
    Buffer.from('middle frame payload'),
    none,
  ]),
  fragmented('6.2.1', 'Sends UTF-8 in one frame.', [greeting]),
  fragmented('6.2.2', 'Sends UTF-8 in two fragments, cut between characters.', [
    greeting.subarray(0, half),
    greeting.subarray(half),
  ]),
  fragmented('6.2.3', 'Sends UTF-8 in fragments of one octet.', octets(greeting)),
  fragmented('6.2.4', 'Sends Greek text in fragments of one octet.', octets(kosme)),
  fragmented('6.3.1', 'Sends text with a surrogate in one frame.', [withSurrogate], false),
  fragmented('6.3.2', 'Sends text with a surrogate in fragments of one octet.', octets(withSurrogate), false),
];

/** Three pieces with a wait behind each of the first two; the second makes the text invalid. */
function failFast(id: string, cuts: [number, number], isOneFrame: boolean): CaseDefinition {
  const [first, second] = cuts;
  const pieces = [beyondUnicode.subarray(0, first), beyondUnicode.subarray(first, second)];
  const last = beyondUnicode.subarray(second);
  const unit = isOneFrame ? 'piece of one frame' : 'fragment';
  return {
    id,
    description: `Sends text in three pieces, each a ${unit}, with a second between. The second piece (0x${pieces[1]!.toString('hex')}) makes it invalid.`,
    expectation: `The connection is failed with 1007 after the second ${unit}. After the third is allowed, but not fail-fast.`,
    start(run) {
      refusesText(run);
      const outlived = (tag: string) => ({ type: 'timeout', tag }) as const;
      run.expected = { OK: [outlived('A')], 'NON-STRICT': [outlived('A'), outlived('B')] };
      const { endpoint } = run;
      const send = (payload: Buffer, i: number): void => {
        if (isOneFrame) endpoint.sendRaw(payload);
        else
          endpoint.sendFrame({ opcode: i === 0 ? Opcode.text : Opcode.continuation, payload, fin: i === 2 });
      };
      if (isOneFrame) endpoint.sendHeader(Opcode.text, beyondUnicode.length);
      send(pieces[0]!, 0);
      endpoint.continueLater(
        1000,
        () => {
          if (endpoint.state !== 'open') return;
          run.received.push(outlived('A'));
          send(pieces[1]!, 1);
          endpoint.continueLater(
            1000 * endpoint.patience,
            () => {
              if (endpoint.state !== 'open') return;
              run.received.push(outlived('B'));
              send(last, 2);
              endpoint.killAfter(1000);
            },
            'B',
          );
        },
        'A',
      );
    },
  };
}

const failFastCases: CaseDefinition[] = [
  failFast('6.4.1', [11, 15], false),
  failFast('6.4.2', [12, 13], false),
  failFast('6.4.3', [11, 15], true),
  failFast('6.4.4', [12, 13], true),
];

/** A hexadecimal octet string, and whether it is UTF-8. Rows are the sub-groups from 6.5 on. */
type Sequence = [hex: string, isValid: boolean];

function valid(...hex: string[]): Sequence[] {
  return hex.map((one) => [one, true]);
}

function invalid(...hex: string[]): Sequence[] {
  return hex.map((one) => [one, false]);
}

function range(from: number, to: number, behind = ''): string {
  return Array.from({ length: to - from }, (_, i) => (from + i).toString(16) + behind).join('');
}

function prefixesOfKosme(): Sequence[] {
  const ends = new Set([2, 5, 7, 9, 11]);
  return Array.from({ length: kosme.length }, (_, i) => [kosme.toString('hex', 0, i + 1), ends.has(i + 1)]);
}

/** U+FFFE and U+FFFF of every plane. */
function nonCharacters(): Sequence[] {
  const planes = [0xffff, ...Array.from({ length: 16 }, (_, i) => ((i + 1) << 16) | 0xffff)];
  return planes.flatMap((last) =>
    [last - 1, last].map(
      (point): Sequence => [Buffer.from(String.fromCodePoint(point)).toString('hex'), true],
    ),
  );
}

const incomplete = [
  'c0',
  'e080',
  'f08080',
  'f8808080',
  'fc80808080',
  'df',
  'efbf',
  'f7bfbf',
  'fbbfbfbf',
  'fdbfbfbfbf',
];
const surrogates = ['eda080', 'edadbf', 'edae80', 'edafbf', 'edb080', 'edbe80', 'edbfbf'];

/** After Markus Kuhn's stress test for UTF-8 decoders, as in the Autobahn suite. */
export const utf8Groups: [title: string, sequences: Sequence[]][] = [
  [
    'UTF-8 of all lengths',
    valid('68656c6c6f24776f726c64', '68656c6c6fc2a2776f726c64', '68656c6c6fe282ac776f726c64').concat(
      valid('68656c6c6ff0a4ada2776f726c64', kosme.toString('hex')),
    ),
  ],
  ['Every prefix of a string of multi-octet characters', prefixesOfKosme()],
  ['The first character of each length', valid('00', 'c280', 'e0a080', 'f0908080')],
  ['The first sequence of five and of six octets', invalid('f888808080', 'fc8480808080')],
  ['The last character of each length', valid('7f', 'dfbf', 'efbfbf', 'f48fbfbf')],
  ['The last sequence of four, five and six octets', invalid('f7bfbfbf', 'fbbfbfbfbf', 'fdbfbfbfbfbf')],
  ['Other boundaries', [...valid('ed9fbf', 'ee8080', 'efbfbd', 'f48fbfbf'), ...invalid('f4908080')]],
  [
    'Continuation octets that continue nothing',
    invalid('80', 'bf', '80bf', '80bf80', '80bf80bf', '80bf80bf80', '80bf80bf80bf', range(0x80, 0xbf)),
  ],
  [
    'Lonely first octets',
    invalid(
      range(0xc0, 0xdf, '20'),
      range(0xe0, 0xef, '20'),
      range(0xf0, 0xf7, '20'),
      range(0xf8, 0xfb, '20'),
      range(0xfc, 0xfd, '20'),
    ),
  ],
  ['Sequences without their last octet', invalid(...incomplete)],
  ['All of these in a row', invalid(incomplete.join(''))],
  ['Octets that are never UTF-8', invalid('fe', 'ff', 'fefeffff')],
  ['A slash in overlong forms', invalid('c0af', 'e080af', 'f08080af', 'f8808080af', 'fc80808080af')],
  ['The longest overlong forms', invalid('c1bf', 'e09fbf', 'f08fbfbf', 'f887bfbfbf', 'fc83bfbfbfbf')],
  ['NUL in overlong forms', invalid('c080', 'e08080', 'f0808080', 'f880808080', 'fc8080808080')],
  ['Single surrogates', invalid(...surrogates)],
  [
    'Pairs of surrogates',
    invalid(
      ...['eda080', 'edadbf', 'edae80', 'edafbf'].flatMap((high) => [`${high}edb080`, `${high}edbfbf`]),
    ),
  ],
  ['Non-characters, which are UTF-8', nonCharacters()],
  ['Specials', valid('efbfb9', 'efbfba', 'efbfbb', 'efbfbc', 'efbfbd', 'efbfbe', 'efbfbf')],
];

/** All of them in a row. */
export const utf8Sequences: Sequence[] = utf8Groups.flatMap(([, sequences]) => sequences);

const sequenceCases: CaseDefinition[] = utf8Groups.flatMap(([, sequences], group) =>
  sequences.map(([hex, isValid], i) => ({
    id: `6.${group + 5}.${i + 1}`,
    description: `Sends a text message that is ${isValid ? '' : 'not '}UTF-8: 0x${hex}.`,
    expectation: isValid
      ? 'The message comes back; clean close with 1000.'
      : 'The connection is failed with 1007.',
    start(run) {
      const payload = Buffer.from(hex, 'hex');
      if (isValid) answers(run, message(payload));
      else refusesText(run);
      run.endpoint.sendFrame({ opcode: Opcode.text, payload });
      run.endpoint.killAfter(500);
    },
  })),
);

export const utf8Cases: CaseDefinition[] = [...basic, ...failFastCases, ...sequenceCases];
