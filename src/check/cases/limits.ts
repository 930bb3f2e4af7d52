/** Groups 9 and 10: messages up to 16 MiB, in fragments and chops of all sizes; round trips; auto-fragmentation. */
import { answers, type CaseDefinition, type CaseRun, message } from '../case.ts';
import { type FrameSpec, Opcode } from '../frames.ts';

const kib = 1024;
const mib = 1024 * kib;
const text = Buffer.from('BAsd7&jh23');
const binary = Buffer.from('00fe23faf0', 'hex');

function sizeName(octets: number): string {
  return octets >= mib ? `${octets / mib} MiB` : octets >= kib ? `${octets / kib} KiB` : `${octets} octets`;
}

/** Sends one message and takes nothing but its echo, within `limit` ms. */
function bigEcho(
  id: string,
  how: string,
  payload: () => Buffer,
  isBinary: boolean,
  limit: number,
  send: (run: CaseRun, frame: FrameSpec & { payload: Buffer }) => void,
): CaseDefinition {
  const kind = isBinary ? 'binary' : 'text';
  return {
    id,
    isTimed: true,
    description: `Sends a ${kind} message ${how}.`,
    expectation: 'It comes back as it was.',
    start(run) {
      const data = payload();
      const { endpoint } = run;
      endpoint.log.isOn = false;
      run.expectedClose = { closedByMe: true, codes: [1000], requireClean: true };
      run.result = `Nothing came back within ${(limit * endpoint.patience) / 1000} s.`;
      run.waiting = () => `the echo (${endpoint.receivedOctets} of more than ${data.length} octets so far)`;
      run.takeMessage = (echo, echoIsBinary) => {
        if (echoIsBinary !== isBinary)
          run.conclude('FAILED', `It came back as a ${echoIsBinary ? 'binary' : 'text'} message.`);
        else if (!echo.equals(data))
          run.conclude('FAILED', `${echo.length} octets came back, not the ${data.length} that were sent.`);
        else run.conclude('OK', `All ${data.length} octets came back.`);
      };
      send(run, { opcode: isBinary ? Opcode.binary : Opcode.text, payload: data });
      endpoint.closeAfter(limit);
    },
  };
}

function kinds(
  make: (isBinary: boolean, group: number) => CaseDefinition[],
  first: number,
): CaseDefinition[] {
  return [...make(false, first), ...make(true, first + 1)];
}

const sizes = [64 * kib, 256 * kib, mib, 4 * mib, 8 * mib, 16 * mib];
const whole = kinds(
  (isBinary, group) =>
    sizes.map((size, i) =>
      bigEcho(
        `9.${group}.${i + 1}`,
        `of ${sizeName(size)}`,
        () => Buffer.alloc(size, isBinary ? binary : text),
        isBinary,
        size < mib ? 10_000 : 100_000,
        (run, frame) => run.endpoint.sendFrame(frame),
      ),
    ),
  1,
);

const fragmentSizes = [64, 256, kib, 4 * kib, 16 * kib, 64 * kib, 256 * kib, mib, 4 * mib];
const fragmented = kinds(
  (isBinary, group) =>
    fragmentSizes.map((size, i) =>
      bigEcho(
        `9.${group}.${i + 1}`,
        `of 4 MiB in fragments of ${sizeName(size)}`,
        () => Buffer.alloc(4 * mib, isBinary ? 0xfe : '*'),
        isBinary,
        100_000,
        (run, { payload }) => run.endpoint.sendMessage(payload, isBinary, size),
      ),
    ),
  3,
);

const chops = [64, 128, 256, 512, 1024, 2048];
const chopped = kinds(
  (isBinary, group) =>
    chops.map((chop, i) =>
      bigEcho(
        `9.${group}.${i + 1}`,
        `of 1 MiB, ${chop} octets at a time`,
        () => Buffer.alloc(mib, isBinary ? binary : text),
        isBinary,
        1_000_000,
        (run, frame) => run.endpoint.sendFrame(frame, { chop }),
      ),
    ),
  5,
);

const roundTrips = 1000;
const roundTripSizes: [size: number, limit: number][] = [
  [0, 60_000],
  [16, 60_000],
  [64, 60_000],
  [256, 120_000],
  [1024, 240_000],
  [4096, 480_000],
];

const latency = kinds(
  (isBinary, group) =>
    roundTripSizes.map(([size, limit], i) => ({
      id: `9.${group}.${i + 1}`,
      isTimed: true,
      description: `Sends ${roundTrips} ${isBinary ? 'binary' : 'text'} messages of ${size} octets, each after the echo of the last.`,
      expectation: `All come back within ${limit / 1000} s.`,
      start(run) {
        const payload = Buffer.alloc(size, isBinary ? 0xfe : '*');
        pingPong(run, roundTrips, limit, () => {
          run.endpoint.sendFrame({ opcode: isBinary ? Opcode.binary : Opcode.text, payload });
          return { data: payload, isBinary };
        });
      },
    })),
  7,
);

/** Sends `count` messages, each when the one before has come back unchanged. */
export function pingPong(
  run: CaseRun,
  count: number,
  limit: number,
  sendNext: (i: number) => { data: Buffer; isBinary: boolean },
): void {
  const { endpoint } = run;
  endpoint.log.isOn = false;
  run.expectedClose = { closedByMe: true, codes: [1000], requireClean: true };
  let sent = 1;
  let last = sendNext(0);
  run.takeMessage = (echo, isBinary) => {
    if (isBinary !== last.isBinary) {
      run.conclude('FAILED', `Message ${sent} came back as a ${isBinary ? 'binary' : 'text'} message.`);
    } else if (!echo.equals(last.data)) {
      const wrong = echo.findIndex((octet, i) => octet !== last.data[i]);
      const where = wrong < 0 ? '' : `; octet ${wrong} is the first that differs`;
      run.conclude(
        'FAILED',
        `Message ${sent} came back with ${echo.length} octets, sent with ${last.data.length}${where}.`,
      );
    } else if (sent === count) {
      run.conclude('OK', `All ${count} messages came back.`);
    } else {
      last = sendNext(sent);
      sent++;
      run.result = `Only ${sent - 1} of ${count} messages came back within ${(limit * endpoint.patience) / 1000} s.`;
    }
  };
  run.waiting = () => `the echo of message ${sent} of ${count}`;
  run.result = `None of ${count} messages came back within ${(limit * endpoint.patience) / 1000} s.`;
  endpoint.closeAfter(limit);
}

const autoFragmentSize = 1300;

const autoFragmented: CaseDefinition = {
  id: '10.1.1',
  description: `Sends a text message of 65536 octets in frames of ${autoFragmentSize}.`,
  expectation: 'It comes back as it was; clean close with 1000.',
  start(run) {
    const payload = Buffer.alloc(65_536, '*');
    answers(run, message(payload));
    run.endpoint.autoFragmentSize = autoFragmentSize;
    run.endpoint.sendMessage(payload, false);
    const { frames } = run.endpoint.log.sent;
    const continuations = Math.floor(payload.length / autoFragmentSize);
    run.amend = () => {
      if (frames.get(Opcode.text) === 1 && frames.get(Opcode.continuation) === continuations) return;
      run.behavior = 'FAILED';
      run.result = `The runner did not send 1 text and ${continuations} continuation frames.`;
    };
    run.endpoint.killAfter(10_000);
  },
};

export const limitCases: CaseDefinition[] = [...whole, ...fragmented, ...chopped, ...latency, autoFragmented];
