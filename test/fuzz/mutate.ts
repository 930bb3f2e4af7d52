/** New inputs from old ones: what a protocol parser most often gets wrong is a length, an edge value, a repetition. */
import type { Random } from '../../src/prove/random.ts';

const EDGES = [
  0, 1, 9, 10, 13, 0x20, 0x22, 0x2c, 0x3b, 0x3d, 0x7d, 0x7e, 0x7f, 0x80, 0x81, 0x88, 0xc1, 0xf4, 0xff,
];

/** A few random changes of a seed; `corpus` lends pieces. At most `maxLength` bytes. */
export function mutate(seed: Buffer, corpus: readonly Buffer[], random: Random, maxLength: number): Buffer {
  let bytes = Buffer.from(seed);
  for (let changes = random.below(5); changes >= 0; changes--) {
    const at = random.below(bytes.length + 1);
    const to = at + random.below(Math.min(bytes.length - at, 64) + 1);
    switch (random.below(8)) {
      case 0:
        if (at < bytes.length) bytes[at]! ^= 1 << random.below(8);
        break;
      case 1:
        if (at < bytes.length) bytes[at] = random.pick(EDGES);
        break;
      case 2:
        if (at < bytes.length) bytes[at] = random.next();
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(to)]);
        break;
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, to), bytes.subarray(at)]);
        break;
      case 5:
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from([random.pick(EDGES)]), bytes.subarray(at)]);
        break;
      case 6:
        bytes = Buffer.concat([bytes.subarray(0, at), random.pick(corpus)]);
        break;
      default:
        bytes.fill(random.pick(EDGES), at, to);
    }
    if (bytes.length > maxLength) bytes = Buffer.from(bytes.subarray(0, maxLength));
  }
  return bytes;
}

/** Where to cut `length` bytes: mostly not at all, sometimes everywhere. */
export function chunkEnds(length: number, random: Random): number[] {
  const ends: number[] = [];
  if (random.chance(16)) {
    for (let end = 1; end < length; end++) ends.push(end);
  } else {
    for (let cuts = random.below(4); cuts > 0; cuts--) ends.push(random.below(length + 1));
    ends.sort((a, b) => a - b);
  }
  ends.push(length);
  return ends;
}
