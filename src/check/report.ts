/** Writes the results to a folder: index.json in the Autobahn suite's form, a page to read, a file per case. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { escapeHtml, page } from '../report-page.ts';
import { groupTitles, isOfAutobahn, subgroupTitles } from './cases/index.ts';
import type { CaseResult } from './runner.ts';
import { outcomeOf, summarize, summaryLine } from './summary.ts';

/** What index.json holds of each case. */
export interface IndexEntry {
  behavior: string;
  behaviorClose: string;
  /** Milliseconds. */
  duration: number;
  remoteCloseCode: number | null;
  reportfile: string;
}

export type Index = Record<string, Record<string, IndexEntry>>;

function fileOf({ agent, id }: CaseResult, extension: string): string {
  const name = agent
    .toLowerCase()
    .replace(/[^a-z0-9]/g, ' ')
    .trim()
    .replaceAll(' ', '_');
  return `${name}_case_${id.replaceAll('.', '_')}.${extension}`;
}

export function indexOf(results: CaseResult[]): Index {
  const index: Index = {};
  for (const result of results) {
    index[result.agent] ??= {};
    index[result.agent]![result.id] = {
      behavior: result.behavior,
      behaviorClose: result.behaviorClose,
      duration: result.duration,
      remoteCloseCode: result.ending.remoteCloseCode,
      reportfile: fileOf(result, 'json'),
    };
  }
  return index;
}

/**
 * Writes index.json, index.html, and for each case a page and a JSON file. `notRun` tells which cases were not run
 * where the check was interrupted. Returns the path of the page.
 */
export function writeReport(folder: string, results: CaseResult[], notRun?: string): string {
  mkdirSync(folder, { recursive: true });
  const write = (name: string, text: string): void => writeFileSync(join(folder, name), text);
  write('index.json', `${JSON.stringify(indexOf(results), null, 3)}\n`);
  for (const result of results) {
    const { ending, ...rest } = result;
    write(fileOf(result, 'json'), `${JSON.stringify({ ...rest, ...ending }, null, 3)}\n`);
    write(fileOf(result, 'html'), casePage(result));
  }
  write('index.html', indexPage(results, notRun));
  return join(folder, 'index.html');
}

const style = `
td:first-child { white-space: nowrap; }
td[class] { min-width: 11rem; }
th[colspan] { padding-top: 1.2rem; }
.nonStrict { background: #ca03; } .unimplemented { background: #8883; }
.sent { color: #27c; } .received { color: #385; } .runner { color: #888; }`;

function indexPage(results: CaseResult[], notRun: string | undefined): string {
  const agents = [...new Set(results.map(({ agent }) => agent))].sort();
  const byCase = new Map<string, Map<string, CaseResult>>();
  for (const result of [...results].sort((a, b) => a.case - b.case)) {
    const row = byCase.get(result.id) ?? new Map<string, CaseResult>();
    byCase.set(result.id, row.set(result.agent, result));
  }
  const rows: string[] = [];
  let lastSection = '';
  for (const [id, row] of byCase) {
    const [group = '', second = ''] = id.split('.');
    const subgroup = `${group}.${second}`;
    const title = subgroupTitles[subgroup];
    const section = title === undefined ? group : subgroup;
    if (section !== lastSection) {
      const heading = `${section} ${groupTitles[group]}${title === undefined ? '' : `: ${title}`}`;
      rows.push(`<tr><th colspan="${agents.length + 2}">${escapeHtml(heading)}</th></tr>`);
      lastSection = section;
    }
    const [any] = row.values();
    const cells = agents.map((agent) => {
      const result = row.get(agent);
      return result ? cell(result) : '<td>not run</td>';
    });
    rows.push(`<tr><td>${id}</td><td>${escapeHtml(any!.description)}</td>${cells.join('')}</tr>`);
  }
  const lines = agents.map((agent) => {
    const ofAgent = results.filter((result) => result.agent === agent);
    const beyond = ofAgent.filter((result) => !isOfAutobahn(result));
    const more = beyond.length > 0 ? `; beyond the Autobahn suite, ${summaryLine(summarize(beyond))}` : '';
    return `<li><b>${escapeHtml(agent)}</b>: ${summaryLine(summarize(ofAgent.filter(isOfAutobahn)))}${more}</li>`;
  });
  return page(
    'WebSocket conformance',
    `<h1>WebSocket conformance</h1>
<p>${new Date().toISOString()}. Cases and verdicts are numbered and named as in the Autobahn test suite; the first verdict is on the
behaviour, the second on the closing, then the code that the peer closed with.</p>
<ul>${lines.join('')}</ul>${notRun === undefined ? '' : `\n<p><b>Interrupted.</b> Not run: ${escapeHtml(notRun)}.</p>`}
<table>
<tr><th>Case</th><th>What is sent</th>${agents.map((agent) => `<th>${escapeHtml(agent)}</th>`).join('')}</tr>
${rows.join('\n')}
</table>`,
    style,
  );
}

function cell(result: CaseResult): string {
  const { behavior, behaviorClose, ending, isTimed, duration, compression } = result;
  const code = ending.remoteCloseCode ?? 'none';
  const ratio = compression
    ? `<br>${compression.incoming.toFixed(3)} in, ${compression.outgoing.toFixed(3)} out`
    : '';
  const time = isTimed ? `<br>${duration} ms${ratio}` : '';
  return `<td class="${outcomeOf(result)}"><a href="${fileOf(result, 'html')}">${behavior}</a>, ${behaviorClose}, ${code}${time}</td>`;
}

const endingMeanings: Record<keyof CaseResult['ending'], string> = {
  closedByMe: 'the runner sent the first Close frame',
  failedByMe: 'the runner failed the connection',
  droppedByMe: 'the runner closed the TCP connection',
  wasClean: 'Close frames went both ways before the TCP connection ended (§7.1.4)',
  wasNotCleanReason: 'why it was not clean',
  wasServerConnectionDropTimeout: 'the server did not close the TCP connection in time',
  wasOpenHandshakeTimeout: 'the opening handshake did not finish in time',
  wasCloseHandshakeTimeout: 'the peer did not answer the Close frame in time',
  localCloseCode: 'the code that the runner sent',
  localCloseReason: 'the reason that the runner sent',
  remoteCloseCode: 'the code that the peer sent',
  remoteCloseReason: 'the reason that the peer sent',
};

function casePage(result: CaseResult): string {
  const { agent, id, ending } = result;
  const rows = Object.entries(endingMeanings).map(
    ([key, meaning]) =>
      `<tr><td>${key}</td><td><code>${escapeHtml(ending[key as keyof typeof ending])}</code></td><td>${meaning}</td></tr>`,
  );
  const wire = result.wirelog.map(
    ({ at, kind, text }) =>
      `<div class="${kind.split(' ')[0]}">${String(at).padStart(6)} ms  ${kind.padEnd(15)}  ${escapeHtml(text)}</div>`,
  );
  const expected = Object.entries(result.expected).map(
    ([verdict, events]) => `${verdict}: ${events.join(', ') || 'nothing'}`,
  );
  return page(
    `${agent}, case ${id}`,
    `<p><a href="index.html">All cases</a></p>
<h1 class="${outcomeOf(result)}">Case ${id}, ${escapeHtml(agent)}: ${result.behavior}</h1>
<p>${result.started}, ${result.duration} ms</p>
<p><b>What is sent.</b> ${escapeHtml(result.description)}</p>
<p><b>What should come.</b> ${escapeHtml(result.expectation)}</p>
<p><b>What came.</b> ${escapeHtml(result.result)}</p>
<pre>expected  ${escapeHtml(expected.join('\n          ') || 'see above')}
received  ${escapeHtml(result.received.join(', ') || 'nothing that was recorded')}</pre>
<p><b>What was waited for in vain.</b> ${escapeHtml(result.waits.join(', and ') || 'nothing')}</p>
<p><b>The closing: ${result.behaviorClose}.</b> ${escapeHtml(result.resultClose)}</p>
<table>${rows.join('')}</table>
<h2>Opening handshake</h2>
<pre>${escapeHtml(result.httpRequest)}</pre>
<pre>${escapeHtml(result.httpResponse)}</pre>
<h2>On the wire</h2>
<pre>${wire.join('')}</pre>
<table>
<tr><th>Chunks and frames</th><th>size or opcode: how many</th></tr>
${Object.entries(result.stats)
  .map(([kind, counts]) => `<tr><td>${kind}</td><td><code>${escapeHtml(shorten(counts))}</code></td></tr>`)
  .join('\n')}
</table>`,
    style,
  );
}

function shorten(counts: Record<string, number>): string {
  const entries = Object.entries(counts).map(([key, value]) => `${key}: ${value}`);
  const more = entries.length > 40 ? ` and ${entries.length - 40} more` : '';
  return entries.slice(0, 40).join(', ') + more;
}
