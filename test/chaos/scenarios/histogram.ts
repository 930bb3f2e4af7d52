/** Moments as bars, for reports. */

/**
 * @param times in milliseconds since the start
 * @param width of a bar, in milliseconds
 */
export function histogram(times: number[], width: number): string[] {
  const bars: number[] = [];
  for (const time of times) {
    const bar = Math.max(0, Math.floor(time / width));
    bars[bar] = (bars[bar] ?? 0) + 1;
  }
  const highest = Math.max(1, ...bars.filter((count) => count !== undefined));
  const lines: string[] = [];
  for (let i = 0; i < bars.length; i++) {
    const count = bars[i] ?? 0;
    if (count === 0 && i > 0 && (bars[i - 1] ?? 0) === 0) continue;
    const seconds = ((i * width) / 1000).toFixed(2).padStart(6);
    lines.push(
      `${seconds} s ${String(count).padStart(5)} ${'#'.repeat(Math.ceil((count / highest) * 40))}`.trimEnd(),
    );
  }
  return lines;
}
