/** `--workers`: how many processes share the port. */
import { availableParallelism } from 'node:os';
import { checked, type Option, text } from './options.ts';

/** More would only take each other's time, on any machine that there is. */
const MOST = 256;

const written = checked(
  text(
    'N|auto',
    'Processes that share the port, each an instance of its own; auto: as many as there are cores; needs --redis or --postgres',
  ),
  (value) => {
    if (value === 'auto') return undefined;
    return /^\d{1,3}$/.test(value) && Number(value) >= 1 && Number(value) <= MOST
      ? undefined
      : `must be auto or a whole number from 1 to ${MOST}`;
  },
);

/** Undefined: this process is the only one. */
export const workersOption: Option<number | undefined> = {
  ...written,
  fallback: undefined,
  parse(texts, files) {
    const value = written.parse(texts, files)!;
    return value === 'auto' ? Math.min(availableParallelism(), MOST) : Number(value);
  },
};
