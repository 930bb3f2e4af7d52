/** docs/metrics.md, the rules and the dashboard name metrics that there are, and the page all of them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Family } from '../../src/metrics/index.ts';
import { PushServer } from '../../src/push/index.ts';
import { checkedOptions } from '../../src/sources/options.ts';
import { Source } from '../../src/sources/source.ts';
import { ScriptedDriver } from '../sources/scripted.ts';
import { find, needs } from '../support/programs.ts';

const push = new PushServer();
after(() => push.close());
new Source(push, new ScriptedDriver(), checkedOptions({}));
const families = push.metrics();
const RULES = 'deploy/prometheus/tidings.rules.yml';
const RULES_TEST = 'deploy/prometheus/tidings.test.yml';
const DASHBOARD = 'deploy/grafana/tidings.json';

const SOURCE = `\${datasource}`;

interface Panel {
  id: number;
  type: string;
  title: string;
  gridPos: { h: number; w: number; x: number; y: number };
  datasource?: { type: string; uid: string };
  targets?: { refId: string; expr: string; legendFormat: string; datasource: { uid: string } }[];
}
interface Dashboard {
  uid: string;
  title: string;
  id: null;
  schemaVersion: number;
  panels: Panel[];
  templating: { list: { name: string; type: string; query: unknown; definition?: string }[] };
}
const dashboard: Dashboard = JSON.parse(readFileSync(DASHBOARD, 'utf8'));
const expressions = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

/** The names that a text has, each of a family, and whether of its kind. */
function namesIn(text: string): Set<string> {
  return new Set(text.match(/\btidings_[a-z_]+\b/g));
}

function isThere(name: string): boolean {
  return families.some((family) => {
    if (family.type !== 'histogram') return family.name === name;
    return ['_bucket', '_sum', '_count'].some((suffix) => family.name + suffix === name);
  });
}

/** What selects by a label's value in PromQL, such as `reason=~"a|b"`. */
function selections(text: string): { family: string; label: string; values: string[] }[] {
  return [...text.matchAll(/\b(tidings_[a-z_]+)\{([^}]*)\}/g)].flatMap(([, family, inner]) =>
    [...inner!.matchAll(/(\w+)=~?"([^"]*)"/g)]
      .filter(([, label]) => label !== 'job' && label !== 'instance')
      .map(([, label, value]) => ({ family: family!, label: label!, values: value!.split('|') })),
  );
}

function valuesOf(family: Family, label: string): Set<string | undefined> {
  return new Set(family.samples.map(({ labels }) => labels[label]));
}

for (const [what, text] of [
  ['the rules', readFileSync(RULES, 'utf8')],
  ["the rules' test", readFileSync(RULES_TEST, 'utf8')],
  ['the dashboard', expressions.join('\n')],
] as const) {
  test(`${what} name metrics and labels that there are`, () => {
    const names = namesIn(text);
    assert.ok(names.size > 10);
    assert.deepEqual(
      [...names].filter((name) => !isThere(name)),
      [],
    );
    for (const { family: name, label, values } of selections(text)) {
      const family = families.find(
        (each) => name.replace(/_(?:bucket|sum|count)$/, '') === each.name || name === each.name,
      )!;
      for (const value of values) {
        if (label === 'le') assert.ok(value === '+Inf' || Number(value) > 0);
        else assert.ok(valuesOf(family, label).has(value), `${name} has no ${label}="${value}"`);
      }
    }
  });
}

test('the dashboard shows every family of metrics', () => {
  const text = expressions.join('\n');
  const missing = families.filter(({ name }) => !new RegExp(`\\b${name}(?:_bucket)?\\b`).test(text));
  // Of these there are others that say more.
  assert.deepEqual(missing.map(({ name }) => name).sort(), ['tidings_heap_size_bytes']);
});

test('the dashboard is one that Grafana imports: ids, places, data source and variables', () => {
  assert.deepEqual([dashboard.id, dashboard.uid, dashboard.title], [null, 'tidings', 'tidings']);
  assert.ok(dashboard.schemaVersion >= 36);
  const ids = dashboard.panels.map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length);
  const taken = new Set<string>();
  for (const { gridPos, type, datasource, targets = [], title } of dashboard.panels) {
    assert.notEqual(title, '');
    assert.ok(gridPos.x + gridPos.w <= 24 && gridPos.h > 0);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        assert.ok(!taken.has(`${x} ${y}`), `${title} lies on another panel`);
        taken.add(`${x} ${y}`);
      }
    }
    if (type === 'row') continue;
    assert.ok(['stat', 'timeseries'].includes(type));
    assert.equal(datasource?.uid, SOURCE);
    assert.ok(targets.length > 0);
    assert.equal(new Set(targets.map(({ refId }) => refId)).size, targets.length);
    for (const { datasource: own } of targets) assert.equal(own.uid, SOURCE);
  }
  assert.deepEqual(
    dashboard.templating.list.map(({ name, type }) => [name, type]),
    [
      ['datasource', 'datasource'],
      ['job', 'query'],
      ['instance', 'query'],
    ],
  );
});

/** The tables of the page: of each metric its type and its labels. */
const rows = new Map(
  [
    ...readFileSync('docs/metrics.md', 'utf8').matchAll(/^\| `(tidings_\w+)` \| (\w+) \| (.*?)\| (.*) \|$/gm),
  ].map(([, name, type, labels]) => [name!, { type: type!, labels: labels!.trim() }]),
);

test('docs/metrics.md has every metric, with its type and labels, and no other', () => {
  const ofPrimary = ['tidings_workers', 'tidings_workers_ready', 'tidings_workers_silent'];
  const source = readFileSync('src/cli/workers.ts', 'utf8');
  assert.deepEqual([...new Set(source.match(/(?<=')tidings_\w+/g))], ofPrimary);
  const names = [...families.map(({ name }) => name), ...ofPrimary];
  assert.deepEqual([...rows.keys()].sort(), names.sort());
  for (const { name, type, samples } of families) {
    const row = rows.get(name)!;
    assert.equal(row.type, type, name);
    const labels = new Set(samples.flatMap((sample) => Object.keys(sample.labels)));
    labels.delete('le');
    const told = [...row.labels.matchAll(/`(\w+)`(?:: [^;]*)?(?:;|$)/g)].map(([, label]) => label);
    assert.deepEqual(told.sort(), [...labels].sort(), name);
  }
});

test('docs/metrics.md has every value that a label may have', () => {
  const text = readFileSync('docs/metrics.md', 'utf8');
  for (const { name, samples } of families) {
    for (const { labels } of samples) {
      for (const [label, value] of Object.entries(labels)) {
        const isListed =
          ['le', 'source'].includes(label) || name === 'tidings_build_info' || /^\d{4}$/.test(value);
        assert.ok(isListed || text.includes(`\`${value}\``), `${name} ${label}="${value}"`);
      }
    }
  }
});

function promtool(...args: string[]): void {
  const { status, stdout, stderr } = spawnSync(find('promtool')!, args, { encoding: 'utf8' });
  assert.equal(status, 0, stdout + stderr);
}

test('promtool accepts the rules, and they alert when they should', needs('promtool'), () => {
  promtool('check', 'rules', '--lint=all', '--lint-fatal', RULES);
  promtool('test', 'rules', RULES_TEST);
  const alerts = readFileSync(RULES, 'utf8').match(/(?<=alert: )\w+/g)!;
  const tested = new Set(readFileSync(RULES_TEST, 'utf8').match(/(?<=alertname: )\w+/g));
  assert.deepEqual(
    alerts.filter((alert) => !tested.has(alert)),
    [],
  );
});

test("promtool can read every expression of the dashboard's", needs('promtool'), () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-promtool-'));
  try {
    const file = join(folder, 'dashboard.rules.yml');
    const ready = expressions.map((expr) =>
      expr.replaceAll('$__rate_interval', '5m').replaceAll('$job', 'a').replaceAll('$instance', 'b'),
    );
    assert.doesNotMatch(ready.join(), /\$/);
    const rules = ready.map((expr, i) => ({ record: `panel:n${i}`, expr }));
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
    promtool('check', 'rules', file);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
