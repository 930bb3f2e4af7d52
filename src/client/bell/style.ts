/** How the bell looks. Adopted as a constructed style sheet, which no content policy is against. */
import { rules } from './rules.ts';

/** Light and dark. The names are those of the custom properties: `--tidings-bell-ink` … */
const COLORS = {
  background: ['#fff', '#1a2230'],
  ink: ['#17202e', '#e8edf6'],
  soft: ['#52607a', '#a8b4c9'],
  line: ['#d8dfea', '#364257'],
  accent: ['#1d5fd0', '#86b5ff'],
  tint: ['#eef4fe', '#22304a'],
  badge: ['#c81e3a', '#ff8793'],
  'badge-ink': ['#fff', '#2a0509'],
  warn: ['#9a4a06', '#f4b25a'],
};

const colors = (value: (light: string, dark: string) => string): string =>
  Object.entries(COLORS)
    .map(([name, [light, dark]]) => `--_${name}:var(--tidings-bell-${name},${value(light!, dark!)});`)
    .join('');

/** Browsers that can't tell (before 2024) have the light ones. */
export const css = `:host{${colors((light) => light)}}@supports(color:light-dark(red,red)){:host{${colors(
  (light, dark) => `light-dark(${light},${dark})`,
)}}}${rules}`;
