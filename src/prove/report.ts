/** How a result is shown: lines for a terminal, and a page with a picture of the run. */
import { escapeHtml, page } from '../report-page.ts';
import { connectionFaults, processFaults } from './faults.ts';
import type { Finding, KindOfFault, Result, Unproven } from './result.ts';

const meanings: Record<string, string> = {
  ...connectionFaults,
  ...processFaults,
  away: 'cut off for many messages at the end',
};

/** What was done, and how much of it. */
function meaningOf({ kind, messages }: KindOfFault): string {
  return messages === undefined ? meanings[kind]! : `cut off for ${number(messages)} messages at the end`;
}

/** What the figures mean, for who reads only the page. */
const words: Record<string, string> = {
  lost: 'accepted by the server, and not seen by a page that came back, nor was that page told',
  duplicated: 'seen again by the code of a page',
  reordered: 'seen after a later message of the same user',
  told: 'a page that the server tells can get what is missing elsewhere: that is not lost',
  recovery: 'from the end of a fault until a page has a message that was sent after it',
  misdelivered: 'seen by a page of another user',
  damaged: 'not what was sent, or never sent',
};

/** As HTML; words between backquotes are code. */
const code = (text: string): string => escapeHtml(text).replace(/`(\w+)`/g, '<code>$1</code>');

const number = (n: number): string => n.toLocaleString('en');
const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(2)} s`;

/** Each figure with its name, as both forms show them. */
function figures(result: Result): [name: string, value: string, isBad: boolean][] {
  const { messages, told, recovery, notBack, resent, crashes } = result;
  const { repeated, unanswered } = messages;
  const more = [
    ...(repeated > 0 ? [`${number(repeated)} tries repeated`] : []),
    ...(unanswered > 0 ? [`${number(unanswered)} more without an answer`] : []),
  ];
  const rows: [string, string, boolean][] = [
    ['messages accepted', [number(messages.accepted), ...more].join(', '), false],
    ['to be seen', `${number(result.toBeSeen)} on ${result.pages} pages of ${result.users} users`, false],
    ['lost', number(result.lost), result.lost > 0],
    ['duplicated', number(result.duplicated), result.duplicated > 0],
    ['reordered', number(result.reordered), result.reordered > 0],
    [
      'told',
      told.times === 0
        ? 'never that anything is missing'
        : `${number(told.times)} times, of ${number(told.messages)} messages; ${number(told.inVain)} times in vain`,
      told.inVain > 0,
    ],
    [
      'recovery',
      recovery === undefined
        ? 'nothing to recover from'
        : `median ${seconds(recovery.median)}, 99 % within ${seconds(recovery.p99)}, longest ${seconds(recovery.longest)}`,
      false,
    ],
  ];
  if (resent > 0)
    rows.push(['sent again', `${number(resent)} that the store had lost, after pages were told`, false]);
  if (result.misdelivered > 0) rows.push(['misdelivered', number(result.misdelivered), true]);
  if (result.damaged > 0) rows.push(['damaged', number(result.damaged), true]);
  if (notBack.length > 0) {
    const names = notBack.slice(0, MOST_NAMES).join(', ');
    rows.push(['not back', notBack.length > MOST_NAMES ? `${names} …` : names, true]);
  }
  for (const { name, times } of crashes)
    rows.push(['crashes', `${name} has ended by itself ${number(times)} times`, false]);
  return rows;
}

export function verdictLine({ verdict, failures, isInterrupted }: Result): string {
  const line =
    verdict === 'passed'
      ? 'passed: nothing lost, duplicated or reordered, and no page told in vain'
      : `failed: ${failures.join('; ')}`;
  return isInterrupted ? `${line} (interrupted)` : line;
}

/** Lines of findings in a terminal, and items on the page. */
const MOST_LINES = 3;
const MOST_ITEMS = 100;
const MOST_NAMES = 10;

/** For a terminal. */
export function text(result: Result): string {
  const { adapter, urls, seed, faults } = result;
  const lines = [`${adapter} at ${urls.join(', ')}: ${result.seconds} s, seed ${seed}`, ''];
  for (const [name, value] of figures(result)) lines.push(`  ${name.padEnd(18)} ${value}`);
  if (faults.length > 0) {
    lines.push(
      '',
      `  ${'fault'.padEnd(10)}${['times', 'pages', 'lost', 'dupl.', 'reord.'].map((head) => head.padStart(8)).join('')}`,
    );
    for (const fault of faults) {
      const { kind, times, pages, lost, duplicated, reordered } = fault;
      const cells = [times, pages, lost, duplicated, reordered].map((n) => number(n).padStart(8)).join('');
      lines.push(`  ${kind.padEnd(10)}${cells}   ${meaningOf(fault)}`);
    }
  }
  const groups = grouped(result.findings);
  if (groups.length > 0)
    lines.push('', ...groups.slice(0, MOST_LINES).map((group) => `  ${describe(group)}`));
  if (groups.length > MOST_LINES) lines.push('  …');
  lines.push('', verdictLine(result));
  return lines.join('\n');
}

/** Findings of consecutive messages of a page about the same fault: what one would say of them in a sentence. */
interface Group extends Finding {
  /** The last message, when it was accepted, and how many there are. */
  lastN: number;
  lastAt: number;
  count: number;
  /** How many times one message was found so. */
  times: number;
}

function grouped(findings: readonly Finding[]): Group[] {
  const groups: Group[] = [];
  const latest = new Map<string, Group>();
  for (const finding of findings) {
    const { what, page, n, at } = finding;
    const where = finding.everyPage ? page.replace(/^page \d+/, 'every page') : page;
    const key = `${what} ${where}`;
    const group = latest.get(key);
    // Another page of the same user, of which the same is said.
    if (finding.everyPage && group !== undefined && n <= group.lastN) continue;
    const isSame = group !== undefined && isOfOneFault(group, finding);
    if (group !== undefined && group.count === 1 && n === group.n && what !== 'lost') {
      group.times++;
      continue;
    }
    if (isSame && group.times === 1 && what !== 'told in vain' && n === group.lastN + 1) {
      group.lastN = n;
      group.lastAt = at;
      group.count++;
      continue;
    }
    const next = { ...finding, page: where, lastN: n, lastAt: at, count: 1, times: 1 };
    groups.push(next);
    latest.set(key, next);
  }
  return groups;
}

function isOfOneFault(one: Finding, other: Finding): boolean {
  if (one.near === undefined || other.near === undefined) return one.near === other.near;
  // Both are rounded.
  const between = one.at - one.near.before - (other.at - other.near.before);
  return one.near.kind === other.near.kind && Math.abs(between) <= 2;
}

function describe({ what, page, n, at, near, lastN, lastAt, count, times }: Group): string {
  const when = seconds(at);
  const often = times === 1 ? '' : ` ${number(times)} times`;
  const fault = near && `\`${near.kind}\` (${meanings[near.kind]})`;
  const about =
    near && (near.before < 0 ? `${-near.before} ms before ${fault}` : `${near.before} ms after ${fault}`);
  const subject = count === 1 ? `message ${n}` : `messages ${n} to ${lastN}`;
  const parts =
    what === 'told in vain'
      ? [`${page}: told in vain${often} after message ${n}`, `at ${when}`]
      : [
          `${page}: ${subject} ${what}${often}`,
          `accepted at ${count === 1 ? when : `${when} to ${seconds(lastAt)}`}`,
        ];
  if (about !== undefined) parts.push(count === 1 ? about : `the first one ${about}`);
  return parts.join(', ');
}

/** A page of a run that has proven nothing, or is not over. */
export function unprovenHtml({ tool, adapter, urls, failures }: Unproven): string {
  return page(
    `${adapter}: nothing is proven`,
    `<h1>nothing is proven: ${escapeHtml(failures[0])}</h1>
<p>${tool} at ${escapeHtml(urls.join(', '))}</p>`,
    style,
  );
}

const style = `
.bad { background: #d223; } td.n { text-align: right; font-variant-numeric: tabular-nums; } th.n { text-align: right; }
h1 { padding: .4rem .6rem; overflow-wrap: anywhere; } small { opacity: .75; } th, .faults td { overflow-wrap: normal; }
.wide { overflow-x: auto; } .wide > * { min-width: 44rem; } svg { width: 100%; height: auto; display: block; }
svg text { font: 10px system-ui, sans-serif; fill: currentColor; }
.line { stroke: #8884; } .fault { fill: #8a8; opacity: .7; } .process { fill: #ca0; opacity: .35; } .finding { fill: #d22; }`;

/** @param again the command that repeats the run */
export function html(result: Result, again: string): string {
  const { adapter, urls, seed, faults, findings, verdict, lost, duplicated, reordered, told } = result;
  const rows = figures(result).map(
    ([name, value, isBad]) =>
      `<tr${isBad ? ' class="bad"' : ''}><th>${escapeHtml(name)}</th><td>${escapeHtml(value)}${
        words[name] === undefined ? '' : `<br><small>${words[name]}</small>`
      }</td></tr>`,
  );
  const kinds = faults.map((fault) => {
    const { kind, times, pages, lost, duplicated, reordered } = fault;
    const counts = [times, pages].map((n) => `<td class="n">${number(n)}</td>`);
    const bad = [lost, duplicated, reordered].map(
      (n) => `<td class="n${n > 0 ? ' bad' : ''}">${number(n)}</td>`,
    );
    return `<tr><td>${kind}</td>${counts.join('')}${bad.join('')}<td>${escapeHtml(meaningOf(fault))}</td></tr>`;
  });
  const groups = grouped(findings);
  const shown = groups.slice(0, MOST_ITEMS).map((group) => `<li>${code(describe(group))}</li>`);
  const isMore =
    groups.length > shown.length || findings.length < lost + duplicated + reordered + told.inVain;
  const rest = isMore
    ? `<p>And more: index.json has the first ${number(findings.length)} messages one by one.</p>`
    : '';
  return page(
    `${adapter}: ${verdict}`,
    `<h1 class="${verdict}">${escapeHtml(verdictLine(result))}</h1>
<p>The server of <b>${escapeHtml(adapter)}</b> at ${escapeHtml(urls.join(', '))}. ${result.started.replace(/T(.*)\..*/, ' $1 UTC')}, ${result.seconds} s.</p>
<table>${rows.join('\n')}</table>
<h2>Faults</h2>
<p>Lost, duplicated and reordered messages stand beside the fault on their page that was nearest to their acceptance; what every
page of a user lacks, beside the nearest fault of a process, if there was one.</p>
<div class="wide"><table class="faults"><tr><th>kind</th>${['times', 'pages', 'lost', 'duplicated', 'reordered'].map((head) => `<th class="n">${head}</th>`).join('')}<th>what was done</th></tr>
${kinds.join('\n')}</table></div>
<h2>The run</h2>
<p>A row for each page. Green: its line was broken; yellow: a process was killed, started again or stood still; red: a message was
accepted that was lost, duplicated or reordered there, or the page was told in vain.</p>
<div class="wide">${picture(result)}</div>
${shown.length === 0 ? '' : `<h2>What was not as it should be</h2>\n<ul>${shown.join('\n')}</ul>${rest}`}
<h2>Again</h2>
<p>The same choices, by seed ${seed}; what happens between them depends on the machine, too.</p>
<pre>${escapeHtml(again)}</pre>`,
    style,
  );
}

const LEFT = 150;
const WIDTH = 1000;
const ROW = 14;
/** More rows are no picture. */
const MOST_ROWS = 100;

function picture({ timeline, findings, seconds: length }: Result): string {
  const names = timeline.pages.slice(0, MOST_ROWS);
  const scale = (WIDTH - LEFT) / Math.max(1, length * 1000);
  const x = (at: number): string => (LEFT + at * scale).toFixed(1);
  const height = names.length * ROW + 20;
  const rows = names.map((name, i) => {
    const y = i * ROW + ROW / 2;
    const short = name.replace(/ of prove-\w+-/, ' of user ');
    return `<text x="0" y="${y + 3}">${escapeHtml(short)}</text><line class="line" x1="${LEFT}" x2="${WIDTH}" y1="${y}" y2="${y}"/>`;
  });
  const bars = timeline.faults.flatMap(({ kind, from, to, pages, victim }) => {
    const width = Math.max(1.5, (to - from) * scale).toFixed(1);
    const title = `<title>${kind}${victim === undefined ? '' : ` ${escapeHtml(victim)}`}, ${seconds(from)}</title>`;
    if (victim !== undefined)
      return [
        `<rect class="process" x="${x(from)}" y="0" width="${width}" height="${height - 20}">${title}</rect>`,
      ];
    return pages
      .filter((i) => i < names.length)
      .map(
        (i) =>
          `<rect class="fault" x="${x(from)}" y="${i * ROW + 2}" width="${width}" height="${ROW - 4}">${title}</rect>`,
      );
  });
  const index = new Map(names.map((name, i) => [name, i]));
  const dots = findings.flatMap((finding) => {
    const i = index.get(finding.page);
    if (i === undefined) return [];
    return [
      `<circle class="finding" cx="${x(finding.at)}" cy="${i * ROW + ROW / 2}" r="2.5"><title>${escapeHtml(describe({ ...finding, lastN: finding.n, lastAt: finding.at, count: 1, times: 1 }))}</title></circle>`,
    ];
  });
  const ticks = Array.from({ length: 6 }, (_, i) => {
    const at = (length * 1000 * i) / 5;
    return `<text x="${x(at)}" y="${height - 5}" text-anchor="${i === 5 ? 'end' : 'middle'}">${(at / 1000).toFixed(1)} s</text>`;
  });
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="Faults and findings by page and time">
${[...rows, ...bars, ...dots, ...ticks].join('\n')}
</svg>`;
}
