/** The page for operators. What it shows comes from others: it is set as text, never as markup. */

/** Milliseconds between two looks at the instances, and of no news after which the frames are asked for again. */
const EVERY = 2_000;
const SILENCE = 25_000;
const PAUSE = 2_000;
const MINUTE = 60_000;
/** Frames that are kept. */
const MOST_FRAMES = 500;
const TOKEN = 'tidings-admin-token';

const $ = (id) => document.getElementById(id);
let token = sessionStorage.getItem(TOKEN) ?? '';
/** Whose page this is at the moment, as it was found. */
let user;
/** What ends the stream of frames. */
let following;
let polling;
/** By instance and start: its last report, and reports of the last minute. */
const seen = new Map();

/** A request that was answered with an error, or not at all. */
class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(method, path, body, signal) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: {
        Authorization: `Bearer ${token}`,
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
      },
      ...(body !== undefined && { body }),
      ...(signal && { signal }),
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failure(0, 'The server does not answer.');
  }
  if (response.ok) return response;
  const { message } = await response.json().catch(() => ({}));
  throw new Failure(response.status, `${response.status}: ${message ?? 'no reason was given'}`);
}

const get = async (path, signal) => (await ask('GET', path, undefined, signal)).json();
const userPath = (name, rest = '') => `api/users/${encodeURIComponent(name)}${rest}`;

/** @param kind good, bad or nothing */
function say(text, kind = '') {
  const state = $('state');
  if (state.textContent !== text) state.textContent = text;
  state.className = kind;
}

function failed(error) {
  say(error.message, 'bad');
  if (error.status === 401) signOut(error.message);
}

function el(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

function row(...cells) {
  const line = document.createElement('tr');
  line.append(...cells);
  return line;
}

const number = (value) => el('td', value, 'number');
const name = (value) => {
  const cell = el('td', value, 'name');
  cell.title = value;
  return cell;
};

// ── signing in ───────────────────────────────────────────────────────────────────────────────────

function show(isSignedIn) {
  $('sign-in').hidden = isSignedIn;
  $('signed-in').hidden = !isSignedIn;
  $('sign-out').hidden = !isSignedIn;
}

async function signIn() {
  say('Signing in …');
  try {
    await look();
  } catch (error) {
    token = '';
    sessionStorage.removeItem(TOKEN);
    show(false);
    say(error.message, 'bad');
    $('token').focus();
    return;
  }
  sessionStorage.setItem(TOKEN, token);
  $('token').value = '';
  show(true);
  say('Live.', 'good');
  schedule();
  $('name').focus();
  const named = fromHash();
  if (named) {
    $('name').value = named;
    await find(named);
  }
}

function signOut(why = 'Signed out.') {
  token = '';
  sessionStorage.removeItem(TOKEN);
  clearTimeout(polling);
  unfollow();
  user = undefined;
  seen.clear();
  $('user').hidden = true;
  $('frames').replaceChildren();
  show(false);
  say(why);
  $('token').focus();
}

function fromHash() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return '';
  }
}

// ── instances ────────────────────────────────────────────────────────────────────────────────────

function schedule() {
  clearTimeout(polling);
  polling = setTimeout(async () => {
    try {
      if (!document.hidden) {
        await look();
        if ($('state').className === 'bad') say('Live.', 'good');
      }
    } catch (error) {
      failed(error);
    }
    if (token !== '') schedule();
  }, EVERY);
}

async function look() {
  const reports = await get('api/instances');
  const now = performance.now();
  const lines = [];
  const refusals = new Map();
  let [sessions, sent] = [0, 0];
  const there = new Set();
  for (const report of reports) {
    const key = `${report.instance}\n${report.started}`;
    there.add(key);
    const history = seen.get(key) ?? [];
    const last = history.at(-1)?.report;
    if (last?.time !== report.time) history.push({ at: now, report });
    while (history.length > 2 && now - history[0].at > MINUTE) history.shift();
    seen.set(key, history);
    const [first, before] = [history[0].report, history.at(-2)?.report];
    const rate = (field) => perSecond(before, report, field);
    const refused = Object.values(report.refusals).reduce((sum, count) => sum + count, 0);
    const refusedBefore = Object.values(first.refusals).reduce((sum, count) => sum + count, 0);
    for (const [reason, count] of Object.entries(report.refusals)) {
      const known = refusals.get(reason) ?? { all: 0, recent: 0 };
      known.all += count;
      known.recent += count - (first.refusals[reason] ?? 0);
      refusals.set(reason, known);
    }
    sessions += report.sessions;
    sent += rate('sentFrames') ?? 0;
    const [state, isGood] = stateOf(report);
    const cpu = rate('cpuSeconds');
    lines.push(
      row(
        name(report.instance),
        el('td', state, isGood ? 'good' : 'bad'),
        number(report.sessions),
        number(shortened(rate('sentFrames'))),
        number(shortened(rate('receivedFrames'))),
        number(refused - refusedBefore),
        number(report.slowSessions),
        number(cpu === undefined ? '…' : `${Math.round(cpu * 100)} %`),
        number(`${report.loopDelay.toFixed(1)} ms`),
        number(`${Math.round(report.memoryBytes / 2 ** 20)} MiB`),
        number(span(report.time - report.started)),
        el('td', report.version),
      ),
    );
  }
  for (const key of seen.keys()) if (!there.has(key)) seen.delete(key);
  $('instances').tBodies[0].replaceChildren(...lines);
  $('totals').textContent =
    `${plural(reports.length, 'instance')}, ${plural(sessions, 'session')}, ${shortened(sent)} frames sent a second`;
  const rows = [...refusals].sort(([, a], [, b]) => b.recent - a.recent || b.all - a.all);
  $('refusals').tBodies[0].replaceChildren(
    ...rows.map(([reason, { all, recent }]) => row(name(reason), number(all), number(recent))),
  );
  $('refusals-region').hidden = rows.length === 0;
  $('no-refusals').hidden = rows.length > 0;
}

const plural = (count, what) => `${count} ${what}${count === 1 ? '' : 's'}`;

function stateOf({ storeAway, draining, ready, reason, storeFaults }) {
  if (draining) return ['draining', false];
  if (storeAway) return ['store away', false];
  if (storeFaults > 0) return ['store damaged', false];
  return ready ? ['ready', true] : [reason ?? 'not ready', false];
}

function perSecond(before, now, field) {
  const milliseconds = now.time - (before?.time ?? now.time);
  return milliseconds > 0 ? (Math.max(0, now[field] - before[field]) / milliseconds) * 1000 : undefined;
}

function shortened(value) {
  if (value === undefined) return '…';
  return value < 10 ? value.toFixed(1) : String(Math.round(value));
}

function span(milliseconds) {
  const minutes = Math.max(0, Math.round(milliseconds / MINUTE));
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} d`;
}

// ── a user ───────────────────────────────────────────────────────────────────────────────────────

async function find(wanted) {
  const found = await get(userPath(wanted)).catch(failed);
  if (found === undefined) return;
  if (user !== found.user) {
    unfollow();
    $('frames').replaceChildren();
  }
  user = found.user;
  if (fromHash() !== user) history.replaceState(null, '', `#${encodeURIComponent(user)}`);
  $('who').textContent = user;
  const { counts, inbox, block } = found;
  const behind = (inbox.devices ?? []).map((one) => `${one.device}: ${one.behind}`);
  const facts = {
    Sessions: found.sessions.length,
    Inbox: `${plural(inbox.messages, 'message')}, ${counts.unread} unread, ${counts.unseen} unseen; newest offset ${inbox.position.offset}`,
    'Devices behind': behind.length === 0 ? 'none known' : behind.join(', '),
    Blocked: block === undefined ? 'no' : `${block.reason}${until(block.until)}`,
  };
  $('facts').replaceChildren(
    ...Object.entries(facts).flatMap(([term, fact]) => [el('dt', term), el('dd', fact)]),
  );
  $('unblock').hidden = block === undefined;
  $('sessions').tBodies[0].replaceChildren(...found.sessions.map(sessionRow));
  $('disconnect').disabled = found.sessions.length === 0;
  $('user').hidden = false;
}

const until = (time) =>
  time === undefined ? ', until unblocked' : `, until ${new Date(time).toLocaleString()}`;

function sessionRow({ session, instance, device = '', since }) {
  const button = el('button', 'Disconnect');
  button.type = 'button';
  button.setAttribute('aria-label', `Disconnect session ${session}`);
  const whose = user;
  button.addEventListener('click', () =>
    confirmed(`End session ${session} of ${whose}?`, 'Disconnect', () =>
      change('DELETE', userPath(whose, `/sessions?session=${encodeURIComponent(session)}`), undefined, ended),
    ),
  );
  const action = el('td');
  action.append(button);
  return row(name(session), name(instance), name(device), el('td', new Date(since).toLocaleString()), action);
}

const ended = ({ ended: count }) => `${plural(count, 'session')} ended.`;

/** @param told what is said of the answer */
async function change(method, path, body, told) {
  try {
    const answer = await (await ask(method, path, body)).json();
    await find(user);
    say(told(answer), 'good');
  } catch (error) {
    failed(error);
  }
}

function confirmed(question, yes, proceed) {
  const dialog = $('confirm');
  $('question').textContent = question;
  $('yes').textContent = yes;
  $('yes').onclick = () => {
    dialog.close();
    void proceed();
  };
  dialog.showModal();
  $('no').focus();
}

// ── frames ───────────────────────────────────────────────────────────────────────────────────────

async function follow(whose) {
  const stop = new AbortController();
  following = stop;
  $('follow').setAttribute('aria-pressed', 'true');
  while (!stop.signal.aborted) {
    // Where nothing comes any more, not even that it is alive, the connection is gone.
    const attempt = new AbortController();
    stop.signal.addEventListener('abort', () => attempt.abort(), { once: true });
    let watchdog;
    const heard = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => attempt.abort(), SILENCE);
    };
    try {
      heard();
      const response = await ask('GET', userPath(whose, '/frames'), undefined, attempt.signal);
      await lines(response, heard);
    } catch (error) {
      if (stop.signal.aborted) break;
      if ([400, 401, 403, 404].includes(error.status)) {
        failed(error);
        unfollow();
        break;
      }
      $('following').textContent = 'Interrupted: frames may be missing. Trying again …';
    } finally {
      clearTimeout(watchdog);
    }
    if (!stop.signal.aborted) await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
}

async function lines(response, heard) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    const parts = (rest + value).split('\n');
    rest = parts.pop();
    if (parts.length > 0) keep(parts.map((part) => JSON.parse(part)));
  }
}

/** Newest first. */
function keep(events) {
  const items = [];
  for (const event of events) {
    if (event.event === 'following') {
      $('following').textContent = event.data ? 'Following, with data.' : 'Following; data is hidden.';
    } else if (event.event !== 'alive') items.unshift(item(event));
  }
  const list = $('frames');
  list.prepend(...items);
  while (list.childElementCount > MOST_FRAMES) list.lastElementChild.remove();
}

const CLOCK = {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
  hour12: false,
};
const WORDS = {
  there: 'is there',
  opened: 'opened',
  closed: 'closed',
  sent: '→ page',
  received: '← page',
};

function item({
  event,
  time,
  session = '',
  instance = '',
  bytes,
  text,
  cut,
  binary,
  code,
  reason,
  count,
  mode,
  address,
}) {
  const line = el('li');
  if (event === 'dropped') {
    line.textContent = `${count} more than can be shown`;
    line.className = 'bad';
    return line;
  }
  const clock = new Date(time);
  const at = el('time', clock.toLocaleTimeString(undefined, CLOCK), 'meta');
  at.dateTime = clock.toISOString();
  const isFrame = event === 'sent' || event === 'received';
  const what = isFrame
    ? (text ?? (binary ? '(binary)' : '(hidden)')) + (cut ? ' …' : '')
    : [mode, address, code, reason].filter((part) => part !== undefined && part !== '').join(' ');
  line.append(
    at,
    el('span', ` ${instance} ${session.slice(0, 7)} `, 'meta'),
    el('strong', WORDS[event] ?? event),
    el('span', isFrame ? ` ${bytes} B ` : ' ', 'meta'),
    el('span', what),
  );
  return line;
}

function unfollow() {
  following?.abort();
  following = undefined;
  $('follow').setAttribute('aria-pressed', 'false');
  $('following').textContent = '';
}

// ── what is pressed ──────────────────────────────────────────────────────────────────────────────

/** @param act is not called again before it is done */
function on(id, event, act) {
  let isBusy = false;
  $(id).addEventListener(event, async (happened) => {
    happened.preventDefault();
    if (isBusy) return;
    isBusy = true;
    try {
      await act();
    } finally {
      isBusy = false;
    }
  });
}

on('sign-in', 'submit', () => {
  token = $('token').value.trim();
  return /^[\x21-\x7e]+$/.test(token) ? signIn() : say('A token is ASCII characters without spaces.', 'bad');
});
on('sign-out', 'click', () => signOut());
on('find', 'submit', async () => {
  const wanted = $('name').value;
  await find(wanted);
  if (user === wanted) {
    say('Live.', 'good');
    $('who').focus();
  }
});
on('disconnect', 'click', () => {
  const whose = user;
  confirmed(`End all sessions of ${whose}?`, 'Disconnect', () =>
    change('DELETE', userPath(whose, '/sessions'), undefined, ended),
  );
});
on('block', 'submit', () => {
  const [whose, minutes, why] = [user, $('minutes').value, $('why').value];
  const settings = {
    ...(minutes !== '' && { until: Date.now() + Number(minutes) * MINUTE }),
    ...(why !== '' && { reason: why }),
  };
  const long = minutes === '' ? 'until unblocked' : `for ${minutes} min`;
  confirmed(`End all sessions of ${whose}, and let none in ${long}?`, 'Block', () =>
    change(
      'PUT',
      userPath(whose, '/block'),
      JSON.stringify(settings),
      (answer) => `Blocked; ${ended(answer)}`,
    ),
  );
});
on('unblock', 'click', () =>
  change('DELETE', userPath(user, '/block'), undefined, ({ lifted }) =>
    lifted ? 'Unblocked.' : 'There was no block.',
  ),
);
on('send', 'submit', () => {
  const text = $('data').value;
  let body = text;
  try {
    JSON.parse(text);
  } catch {
    body = JSON.stringify(text);
  }
  return change('POST', userPath(user, '/messages'), body, ({ offset }) => `Stored with offset ${offset}.`);
});
on('follow', 'click', () => {
  if (following) unfollow();
  else void follow(user);
});
on('clear', 'click', () => $('frames').replaceChildren());
on('no', 'click', () => $('confirm').close());
addEventListener('hashchange', () => {
  const named = fromHash();
  if (token === '' || named === '' || named === user) return;
  $('name').value = named;
  void find(named);
});

if (token === '') {
  show(false);
  say('');
} else void signIn();
