/** The chart of the report: how many times less CPU than ws each server needs, on a logarithmic scale. */
import type { RowResult } from '../measure.ts';
import { targets } from '../targets.ts';

/** The rows that are drawn, where they were measured. */
const DRAWN = [
  'echo-125-text-64x1',
  'echo-125-text-64x16',
  'echo-1024-text-64x16',
  'echo-65536-text-64x1',
  'echo-1048576-binary-64x1',
  'broadcast-128-text-1000x1',
  'broadcast-128-text-1000x16',
  'broadcast-128-text-10000x4',
  'handshakes-64',
];
const COLOURS: Record<string, string> = {
  tidings: '#0b6e99',
  'tidings-embedded': '#6fb3cf',
  net: '#8a8a8a',
  bun: '#c98a3d',
  deno: '#7a5ca8',
};

const WIDTH = 860;
const LEFT = 330;
const RIGHT = 60;
const BAR = 11;
const GAP = 14;
const TOP = 58;
/** Both ends of the scale. */
const LOWEST = 0.5;
const HIGHEST = 32;

export function drawChart(results: RowResult[]): string {
  const rows = DRAWN.flatMap((id) => results.filter(({ row }) => row.id === id));
  const parts: string[] = [];
  let y = TOP;
  for (const { row, peers } of rows) {
    const bars = Object.keys(COLOURS).flatMap((name) =>
      peers.filter((peer) => peer.name === name && peer.ratio > 0),
    );
    const height = bars.length * BAR;
    parts.push(text(LEFT - 10, y + height / 2 + 4, row.title, 'end'));
    const target = targets.find(
      (other) => other.row === row.id && 'ratio' in other && other.against === 'ws',
    );
    for (const [index, { name, ratio }] of bars.entries()) {
      const at = y + index * BAR;
      const from = Math.min(x(1), x(ratio));
      parts.push(
        `<rect x="${from.toFixed(1)}" y="${at}" width="${Math.abs(x(ratio) - x(1)).toFixed(1)}" height="${BAR - 2}" fill="${COLOURS[name]}"/>`,
        text(Math.max(x(1), x(ratio)) + 5, at + BAR - 3, ratio.toFixed(ratio < 10 ? 2 : 1), 'start', 9),
      );
    }
    if (target && 'ratio' in target) {
      const at = x(target.ratio).toFixed(1);
      parts.push(
        `<line x1="${at}" y1="${y - 3}" x2="${at}" y2="${y + height + 1}" stroke="#c0392b" stroke-width="1.5"/>`,
      );
    }
    y += height + GAP;
  }
  const grid = [0.5, 1, 2, 4, 8, 16, 32].map(
    (value) =>
      `<line x1="${x(value)}" y1="${TOP - 8}" x2="${x(value)}" y2="${y}" stroke="${value === 1 ? '#555' : '#ddd'}"/>` +
      text(x(value), TOP - 13, value === 1 ? 'ws = 1' : String(value), 'middle', 10),
  );
  let legendX = LEFT - 170;
  const legend = Object.entries(COLOURS).map(([name, colour]) => {
    const item = `<rect x="${legendX}" y="12" width="10" height="10" fill="${colour}"/>${text(legendX + 14, 21, name, 'start', 11)}`;
    legendX += 34 + name.length * 6.5;
    return item;
  });
  legend.push(
    `<line x1="${legendX + 5}" y1="10" x2="${legendX + 5}" y2="24" stroke="#c0392b" stroke-width="1.5"/>`,
    text(legendX + 14, 21, 'target', 'start', 11),
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y + 10}" font-family="system-ui, sans-serif">
<title>Server CPU per message: ws ÷ server, higher is better</title>
<rect width="100%" height="100%" fill="#fff"/>
${[...legend, ...grid, ...parts].join('\n')}
</svg>
`;
}

function x(ratio: number): number {
  const part = Math.log(ratio / LOWEST) / Math.log(HIGHEST / LOWEST);
  return Math.round(LEFT + Math.min(1, Math.max(0, part)) * (WIDTH - LEFT - RIGHT));
}

function text(x: number, y: number, content: string, anchor: string, size = 12): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" font-size="${size}" fill="#222">${content}</text>`;
}
