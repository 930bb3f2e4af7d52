/** Groups 12 and 13: permessage-deflate with five kinds of payload and with seven sets of parameters (RFC 7692). */
import type { CaseDefinition } from '../case.ts';
import type { DeflateRequest } from '../deflate.ts';
import { type Corpus, corpora } from './corpora.ts';
import { compressedMessageOf, messageOf } from './corpus-messages.ts';
import { pingPong } from './limits.ts';

/** Length of a message (characters of text, octets otherwise), fragment size (0: unfragmented), limit in ms. */
const shapes: [length: number, fragmentSize: number, limit: number][] = [
  [16, 0, 60_000],
  [64, 0, 60_000],
  [256, 0, 120_000],
  [1024, 0, 240_000],
  [4096, 0, 480_000],
  [8192, 0, 480_000],
  [16_384, 0, 480_000],
  [32_768, 0, 480_000],
  [65_536, 0, 480_000],
  [131_072, 0, 480_000],
  [8192, 256, 480_000],
  [16_384, 256, 480_000],
  [32_768, 256, 480_000],
  [65_536, 256, 480_000],
  [131_072, 256, 480_000],
  [131_072, 1024, 480_000],
  [131_072, 4096, 480_000],
  [131_072, 32_768, 480_000],
];

function group(id: string, corpus: Corpus, requests: DeflateRequest[]): CaseDefinition[] {
  return shapes.map(([length, fragmentSize, limit], i) => ({
    id: `${id}.${i + 1}`,
    isTimed: true,
    deflate: requests,
    description: `Sends compressed messages of ${length} ${corpus.isBinary ? 'octets' : 'characters'} from ${corpus.title}${fragmentSize > 0 ? `, in fragments of ${fragmentSize} octets` : ''}, each after the echo of the last.`,
    expectation: `All come back within ${limit / 1000} s. The peer's window is ${describe(requests)}.`,
    start(run) {
      const { isBinary } = corpus;
      pingPong(run, run.messages, limit, (i) => {
        const data = messageOf(corpus, length, i);
        const compressed = compressedMessageOf(corpus, length, i, run.endpoint.deflate!.own);
        run.endpoint.sendMessage(data, isBinary, fragmentSize, compressed);
        return { data, isBinary };
      });
    },
  }));
}

function describe(requests: DeflateRequest[]): string {
  return requests
    .map(
      ({ noContextTakeover, maxWindowBits }) =>
        `${maxWindowBits > 0 ? `${maxWindowBits} bits` : 'free'}${noContextTakeover ? ', reset with each message' : ''}`,
    )
    .join(" or, if it can't, ");
}

const free: DeflateRequest = { noContextTakeover: false, maxWindowBits: 0 };

/** What the peer's compressor is asked for; several in order of preference. */
export const parameterSets: DeflateRequest[][] = [
  [free],
  [{ noContextTakeover: true, maxWindowBits: 0 }],
  [{ noContextTakeover: false, maxWindowBits: 9 }],
  [{ noContextTakeover: false, maxWindowBits: 15 }],
  [{ noContextTakeover: true, maxWindowBits: 9 }],
  [{ noContextTakeover: true, maxWindowBits: 15 }],
  [{ noContextTakeover: true, maxWindowBits: 9 }, { noContextTakeover: true, maxWindowBits: 0 }, free],
];

export const compressionCases: CaseDefinition[] = [
  ...corpora.flatMap((corpus, i) => group(`12.${i + 1}`, corpus, [free])),
  ...parameterSets.flatMap((requests, i) => group(`13.${i + 1}`, corpora[0]!, requests)),
];

/** Titles of the sub-groups, for the report. */
export const compressionTitles: [id: string, title: string][] = [
  ...corpora.map((corpus, i): [string, string] => [`12.${i + 1}`, corpus.title]),
  ...parameterSets.map((requests, i): [string, string] => [
    `13.${i + 1}`,
    `The peer's window is ${describe(requests)}`,
  ]),
];
