/** Makes a screenshot's PNG small: few colours, as what a page shows needs no more. */
import { crc32, deflateSync, inflateSync } from 'node:zlib';

/** How many colours it keeps. */
const COLORS = 64;
const SIGNATURE = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');

/** @param png of 8 bits for each of red, green, blue (and alpha, which is dropped), not interlaced: as browsers make it */
export function smallPng(png: Buffer): Buffer {
  const { width, height, pixels } = decode(png);
  const counts = new Map<number, number>();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
  const palette = choose(counts);
  const indices = new Map<number, number>(palette.map((color, i) => [color, i]));
  const rows = Buffer.alloc((width + 1) * height);
  pixels.forEach((pixel, i) => {
    let index = indices.get(pixel);
    if (index === undefined) {
      index = nearest(palette, pixel);
      indices.set(pixel, index);
    }
    rows[i + Math.floor(i / width) + 1] = index;
  });
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8);
  const colors = Buffer.from(palette.flatMap((color) => [color >> 16, (color >> 8) & 255, color & 255]));
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    chunk('PLTE', colors),
    chunk('IDAT', deflateSync(rows, { level: 9, memLevel: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** One after another, the colour whose pixels would be the most wrong in all: much that is a bit off, or little by far. */
function choose(counts: ReadonlyMap<number, number>): number[] {
  const palette: number[] = [];
  const errors = new Map([...counts].map(([color, count]) => [color, count * distance(0, 0xffffff)]));
  while (palette.length < COLORS && errors.size > 0) {
    const [[color]] = [...errors].toSorted((a, b) => b[1] - a[1]) as [[number, number]];
    palette.push(color);
    errors.delete(color);
    for (const [other, error] of errors)
      errors.set(other, Math.min(error, counts.get(other)! * distance(color, other)));
  }
  return palette;
}

function nearest(palette: readonly number[], color: number): number {
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  palette.forEach((other, i) => {
    const away = distance(color, other);
    if (away < least) [best, least] = [i, away];
  });
  return best;
}

function distance(one: number, other: number): number {
  const between = (shift: number): number => ((one >> shift) & 255) - ((other >> shift) & 255);
  return between(16) ** 2 + between(8) ** 2 + between(0) ** 2;
}

/** PNG, third edition: chunks, and the filters of its rows. */
function decode(png: Buffer): { width: number; height: number; pixels: Uint32Array } {
  let [width, height, bytes] = [0, 0, 0];
  const data: Buffer[] = [];
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at);
    const type = png.toString('latin1', at + 4, at + 8);
    const body = png.subarray(at + 8, at + 8 + length);
    if (type === 'IHDR') {
      [width, height] = [body.readUInt32BE(0), body.readUInt32BE(4)];
      bytes = { 2: 3, 6: 4 }[body[9]!] ?? 0;
      if (body[8] !== 8 || bytes === 0 || body[12] !== 0)
        throw new Error('this kind of PNG is not read here');
    }
    if (type === 'IDAT') data.push(body);
    at += length + 12;
  }
  const raw = inflateSync(Buffer.concat(data));
  const line = width * bytes;
  const pixels = new Uint32Array(width * height);
  let before = new Uint8Array(line);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (line + 1)]!;
    const row = new Uint8Array(raw.subarray(y * (line + 1) + 1, (y + 1) * (line + 1)));
    for (let i = 0; i < line; i++) {
      const left = i < bytes ? 0 : row[i - bytes]!;
      const up = before[i]!;
      const corner = i < bytes ? 0 : before[i - bytes]!;
      row[i] = row[i]! + [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter]!;
    }
    for (let x = 0; x < width; x++) {
      const at = x * bytes;
      pixels[y * width + x] = (row[at]! << 16) | (row[at + 1]! << 8) | row[at + 2]!;
    }
    before = row;
  }
  return { width, height, pixels };
}

function paeth(left: number, up: number, corner: number): number {
  const guess = left + up - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

function chunk(type: string, body: Buffer): Buffer {
  const head = Buffer.from(`\0\0\0\0${type}`, 'latin1');
  head.writeUInt32BE(body.length);
  const tail = Buffer.alloc(4);
  tail.writeUInt32BE(crc32(Buffer.concat([head.subarray(4), body])));
  return Buffer.concat([head, body, tail]);
}
