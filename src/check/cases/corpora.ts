/**
 * Payloads for the compression cases: of the kinds and sizes that the Autobahn suite uses, but made here, the same
 * in every run. They are made when first needed.
 */
import { deflateSync } from 'node:zlib';

export interface Corpus {
  title: string;
  isBinary: boolean;
  /** In characters of text, or in octets. */
  readonly length: number;
  /** `length` characters or octets from `at` on, going round at the end. */
  slice(at: number, length: number): Buffer;
}

/** Numbers below `limit`, the same for the same seed (xorshift32). */
function generator(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

function ofText(title: string, length: number, make: () => string): Corpus {
  let made: { octets: Buffer; starts: Uint32Array } | undefined;
  const content = (): { octets: Buffer; starts: Uint32Array } => {
    if (made) return made;
    const octets = Buffer.from(make());
    const starts = new Uint32Array(length + 1);
    let characters = 0;
    octets.forEach((octet, i) => {
      if ((octet & 0xc0) !== 0x80) starts[characters++] = i;
    });
    if (characters !== length) throw new Error(`${title}: ${characters} characters instead of ${length}`);
    starts[length] = octets.length;
    made = { octets, starts };
    return made;
  };
  return {
    title,
    length,
    isBinary: false,
    slice(at, count) {
      const { octets, starts } = content();
      if (at + count <= length) return octets.subarray(starts[at], starts[at + count]);
      return Buffer.concat([octets.subarray(starts[at]), octets.subarray(0, starts[at + count - length])]);
    },
  };
}

function ofOctets(title: string, length: number, make: () => Buffer): Corpus {
  let octets: Buffer | undefined;
  return {
    title,
    length,
    isBinary: true,
    slice(at, count) {
      octets ??= make().subarray(0, length);
      if (octets.length !== length) throw new Error(`${title}: ${octets.length} octets instead of ${length}`);
      if (at + count <= length) return octets.subarray(at, at + count);
      return Buffer.concat([octets.subarray(at), octets.subarray(0, at + count - length)]);
    },
  };
}

const words =
  `der die das und nicht ist ein ich zu in den mit sich auf dem wie so es aus von Haus Baum Wasser Straße
  Übung schön größer Mädchen Feuer Nacht Tag Himmel Erde gehen sehen hören sagen wollen können müssen dürfen Freund
  Garten Fenster Tür öffnen schließen Zeit Jahr Stunde früh spät immer nie wieder vielleicht Wort Satz Buch Blatt
  Vogel fliegt Wind weht Regen fällt leise laut hell dunkel warm kühl weiß schwarz rot grün blau`.split(
    /\s+/,
  );

function sentences(random: (limit: number) => number, length: number, lineEnd: string): string {
  let text = '';
  while (text.length < length) {
    const count = 5 + random(9);
    const line = Array.from({ length: count }, () => words[random(words.length)]).join(' ');
    text += `${line[0]!.toUpperCase()}${line.slice(1)}${'.,;!?'[random(5)]}${lineEnd}`;
  }
  return text.slice(0, length);
}

const names = ['Zoë', 'Jürgen', 'Łukasz', '美咲', 'Åsa', 'Anna', 'Peter', 'Ольга', 'Maria', 'Jean-Luc'];

function json(): string {
  const random = generator(0x6a736f6e);
  const records: string[] = [];
  let length = 2;
  while (length < 193_500) {
    const record = JSON.stringify({
      id: 4_000_000_000 + random(1_000_000_000),
      user: { name: names[random(names.length)], followers: random(5000), verified: random(9) === 0 },
      created: new Date(1.3e12 + random(2 ** 31)).toISOString(),
      text: sentences(random, 40 + random(100), ' ').trim(),
      tags: Array.from({ length: random(4) }, () => words[random(words.length)]),
      place: random(3) === 0 ? { lat: random(180_000) / 1000 - 90, lon: random(360_000) / 1000 - 180 } : null,
    });
    records.push(record);
    length += record.length + 2;
  }
  return `[${records.join(',\n')}]`.padEnd(194_056, ' ').slice(0, 194_056);
}

function html(): string {
  const random = generator(0x68746d6c);
  let body =
    '<!DOCTYPE html>\n<html lang="de">\n<head><meta charset="utf-8"><title>Seite</title></head>\n<body>\n';
  for (let i = 1; body.length < 263_400; i++) {
    body += `<div class="entry" id="entry-${i}">\n  <h2><a href="/pages/${random(10_000)}.html">${sentences(random, 30, ' ')}</a></h2>\n`;
    body += `  <p class="text">${sentences(random, 150 + random(200), ' ')}</p>\n  <span class="date">${1990 + random(30)}</span>\n</div>\n`;
  }
  return body.slice(0, 263_527);
}

/** A grey bitmap of 512 × 512: soft shapes and the noise of a scan. */
function picture(): Buffer {
  const random = generator(0x626d7000);
  const size = 512;
  const header = Buffer.alloc(1078);
  header.write('BM');
  header.writeUInt32LE(header.length + size * size, 2);
  header.writeUInt32LE(header.length, 10);
  header.writeUInt32LE(40, 14);
  header.writeInt32LE(size, 18);
  header.writeInt32LE(size, 22);
  header.writeUInt16LE(1, 26);
  header.writeUInt16LE(8, 28);
  for (let grey = 0; grey < 256; grey++) header.fill(grey, 54 + grey * 4, 57 + grey * 4);
  const pixels = Buffer.alloc(size * size);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const shade = 128 + 60 * Math.sin(x / 37) * Math.cos(y / 53) + 40 * Math.sin((x + y) / 91);
      pixels[y * size + x] = Math.max(0, Math.min(255, shade + random(9) - 4));
    }
  }
  return Buffer.concat([header, pixels]);
}

/** Laid out as a PDF is: lines of text around streams that are compressed already. */
function pdf(): Buffer {
  const random = generator(0x25504446);
  const parts: Buffer[] = [Buffer.from('%PDF-1.4\n')];
  for (let i = 1, length = 0; length < 1_042_328; i++) {
    const stream = deflateSync(Buffer.from(Array.from({ length: 9000 }, () => random(200))));
    const part = Buffer.concat([
      Buffer.from(`${i} 0 obj\n<< /Length ${stream.length} /Filter /FlateDecode >>\nstream\n`),
      stream,
      Buffer.from('\nendstream\nendobj\n'),
    ]);
    parts.push(part);
    length += part.length;
  }
  return Buffer.concat(parts);
}

export const corpora: Corpus[] = [
  ofText('a JSON document', 194_056, json),
  ofOctets('a picture', 263_222, picture),
  ofOctets('German text', 222_218, () => Buffer.from(sentences(generator(0x46617573), 222_218, '\r\n'))),
  ofText('an HTML page', 263_527, html),
  ofOctets('a PDF document', 1_042_328, pdf),
];
