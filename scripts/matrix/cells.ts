/** The cells of the matrix: what a machine may be like, and which tests tell most about that. */

export interface Cell {
  /** The major version of Node; or `own`, the one that runs this. */
  node: string;
  /** The store that tests start: `own`, what is on the machine; `none`, as if there were none; or one of stores.ts. */
  redis: string;
  /** Who runs the tests: `own`, or the name of a user, which takes root. */
  user: string;
}

/** The axes, each with the values that it may have. */
export const AXES: Record<keyof Cell, string[]> = {
  node: ['own', '20', '22', '24', '26'],
  redis: ['own', 'none', 'valkey', '8'],
  user: ['own', 'nobody'],
};

const OWN: Cell = { node: 'own', redis: 'own', user: 'own' };

/** What CI runs: each value that is not the machine's own, once. */
export function usual(own: string): Cell[] {
  const versions = AXES.node.filter((version) => version !== 'own' && version !== own);
  return [
    ...versions.map((node) => ({ ...OWN, node })),
    { ...OWN, redis: 'none' },
    { ...OWN, redis: 'valkey' },
    { ...OWN, redis: '8' },
    { ...OWN, user: 'nobody' },
  ];
}

/** @param words `axis=value` or `axis=value,value`: all that can be made of them. @throws where there is no such */
export function cellsOf(words: string[]): Cell[] {
  let cells: Cell[] = [OWN];
  const seen = new Set<string>();
  for (const word of words) {
    const [axis = '', list = ''] = word.split('=');
    if (!isAxis(axis) || list === '') throw new Error(`${word} is not of the form ${forms()}`);
    if (seen.has(axis)) throw new Error(`${axis} is given twice: ${axis}=A,B stands for both`);
    seen.add(axis);
    for (const value of list.split(',')) {
      // Any version that npm has may be asked for, such as 22.15.
      const isKnown =
        axis === 'node' ? /^(?:own|\d+(?:\.\d+){0,2})$/.test(value) : AXES[axis].includes(value);
      if (!isKnown) throw new Error(`there is no ${axis}=${value}: ${forms()}`);
    }
    cells = cells.flatMap((cell) => list.split(',').map((value) => ({ ...cell, [axis]: value })));
  }
  return cells;
}

const isAxis = (name: string): name is keyof Cell => Object.hasOwn(AXES, name);

export function forms(): string {
  return Object.entries(AXES)
    .map(([axis, values]) => `${axis}=${values.join('|')}`)
    .join(' ');
}

export function nameOf(cell: Cell): string {
  const words = Object.entries(cell).filter(([, value]) => value !== 'own');
  return words.map(([axis, value]) => `${axis}=${value}`).join(' ') || 'as it is';
}

/** Protocol, sockets and HTTP: what rests on Node itself; all else runs on top of these. */
const ON_NODE = ['test/protocol/', 'test/server/', 'test/ws/', 'test/sockjs/'];
/** What speaks to the store, and what is delivered through it. */
const ON_STORE = [
  'test/pubsub/redis/',
  'test/pubsub/store/redis-',
  'store/schedule',
  'store/control.',
  'push/delivery',
];
/** What asks for the store, and goes without. */
const WITHOUT_STORE = ['test/pubsub/', 'push/delivery', 'push/push-server', 'push/listening', 'test/demo/'];
/** Ports, files, processes. */
const OF_A_USER = [
  'test/policy/',
  'cli/serve',
  'cli/service-manager',
  'cli/configuration',
  'cli/log.',
  'cli/program',
  'push/listening',
  'store/redis-store',
  'server/raw-',
  'test/testing',
];

/** The words for scripts/test.ts. */
export function testsOf({ node, redis, user }: Cell): string[] {
  const words = new Set<string>();
  if (node !== 'own') for (const word of ON_NODE) words.add(word);
  if (redis !== 'own') for (const word of redis === 'none' ? WITHOUT_STORE : ON_STORE) words.add(word);
  if (user !== 'own') for (const word of OF_A_USER) words.add(word);
  return words.size > 0 ? [...words] : ON_NODE;
}
