/**
 * The demo page: signing in, folders, reading, writing, and what the connection does. What there is and what is read, the
 * push server knows: the page keeps nothing of it.
 */
import { chooseLanguage, texts } from './texts.js';

const settings = JSON.parse(document.querySelector('meta[name=tidings]').content);
const { mailOf } = customElements.get('tidings-bell');
const $ = (id) => document.getElementById(id);
/** Of mails that are asked for at once. */
const PAGE = 30;
/** Milliseconds that it is said what became of a mail. */
const SAID_TIME = 6_000;

// ── language and colours ─────────────────────────────────────────────────────────────────────────────

let language = chooseLanguage([kept('language') ?? '', ...navigator.languages]);

function t(name, ...values) {
  const text = texts[language][name];
  return typeof text === 'function' ? text(...values) : text;
}

/** For times: the reader's own form of the language, such as en-GB. */
function locale() {
  return navigator.languages.find((name) => name.startsWith(language)) ?? language;
}

function translate(root) {
  for (const element of root.querySelectorAll('[data-text]')) element.textContent = t(element.dataset.text);
  for (const element of root.querySelectorAll('[data-label]'))
    element.setAttribute('aria-label', t(element.dataset.label));
}

function applyLanguage() {
  document.documentElement.lang = language;
  translate(document);
  press('language', language);
  session?.render();
  if (session === undefined) document.title = t('brand');
}

function applyTheme(theme) {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  press('theme', theme);
}

function press(kind, value) {
  for (const button of document.querySelectorAll(`button[data-${kind}]`))
    button.setAttribute('aria-pressed', String(button.dataset[kind] === value));
}

for (const button of document.querySelectorAll('button[data-language]'))
  button.addEventListener('click', () => {
    language = button.dataset.language;
    keep('language', language);
    applyLanguage();
  });
for (const button of document.querySelectorAll('button[data-theme]'))
  button.addEventListener('click', () => {
    keep('theme', button.dataset.theme);
    applyTheme(button.dataset.theme);
  });
applyTheme(kept('theme') ?? 'auto');

/** What the reader has chosen, in this browser. */
function kept(key) {
  try {
    return localStorage.getItem(`tidings-demo:${key}`);
  } catch {
    return null;
  }
}

function keep(key, value) {
  try {
    localStorage.setItem(`tidings-demo:${key}`, value);
  } catch {
    // Forbidden: it holds until the page is left.
  }
}

// ── one user's session ───────────────────────────────────────────────────────────────────────────────

class Session {
  #user;
  #client;
  #bell;
  #instance = '';
  #roundTrip;
  #isChecking = false;
  #isBehind = false;
  /** The name of the text above the list. */
  #notice;
  #countdown;
  #folder = 'inbox';
  /** Mails of the archive, as asked for last, newest first. */
  #archived = [];
  #shown = PAGE;
  #hasAll = false;
  /** The id of the mail that is read, and the last that is known of it. */
  #open;
  /** By the mail's id. @type {Map<string, HTMLLIElement>} */
  #rows = new Map();
  /** Mails that could not be sent for want of a connection. */
  #unsent = [];
  #isEnded = false;
  #isDue = false;

  constructor(user) {
    this.#user = user;
    this.#client = tidings.connect({
      url: settings.path,
      user,
      userParameter: settings.userParameter,
      share: true,
      heartbeat: { interval: 15_000, timeout: 15_000 },
    });
    const client = this.#client;
    client.on('state', (state) => this.#stateChanged(state));
    client.on('open', (event) => {
      this.#instance = event.instance;
      this.#load();
      this.#renderStatus();
      for (const mail of this.#unsent.splice(0)) void this.#post(mail);
    });
    client.on('gap', ({ reason }) => {
      this.#notice = reason === 'trimmed' ? undefined : 'rewound';
      this.#renderStatus();
    });
    client.on('status', ({ behind }) => {
      this.#isBehind = behind;
      this.#renderStatus();
    });
    client.on('heartbeat', ({ roundTrip }) => {
      this.#isChecking = roundTrip === undefined;
      this.#roundTrip = roundTrip ?? this.#roundTrip;
      this.#renderStatus();
    });
    client.inbox.on('change', () => this.#changed());
    client.inbox.on('counts', () => this.#changed());

    this.#bell = document.createElement('tidings-bell');
    this.#bell.client = client;
    this.#bell.setAttribute('title-badge', '');
    this.#bell.setAttribute('notifications', '');
    // This page has a place of its own for reading.
    this.#bell.addEventListener('tidings-open', (event) => {
      if (event.detail.item === undefined) return;
      event.preventDefault();
      this.#bell.open = false;
      this.read(event.detail.item);
    });
    $('bell-place').replaceChildren(this.#bell);
    this.render();
  }

  get #inbox() {
    return this.#client.inbox;
  }

  render() {
    $('my-name').textContent = this.#user;
    paintAvatar($('my-avatar'), this.#user);
    document.title = t('title', this.#user);
    this.#rows.clear();
    $('list').replaceChildren();
    this.#renderList();
    this.#renderReader();
    this.#renderStatus();
  }

  end() {
    this.#isEnded = true;
    clearInterval(this.#countdown);
    this.#client.close();
    this.#bell.remove();
    $('list').replaceChildren();
    this.#open = undefined;
    this.#renderReader();
    say($('sent'), '');
  }

  tryNow() {
    this.#client.connect();
  }

  // ── the connection ──

  #stateChanged(state) {
    if (this.#isEnded) return;
    clearInterval(this.#countdown);
    this.#isChecking = false;
    // The number counts on for the eye; a screen reader hears of the change once.
    if (state.name === 'waiting') this.#countdown = setInterval(() => this.#renderStatus(), 250);
    const spoken = { connected: 'connected', waiting: 'reconnecting', closed: 'closed' }[state.name];
    if (spoken !== undefined) say($('announce'), t(spoken));
    this.#renderStatus();
  }

  #renderStatus() {
    if (this.#isEnded) return;
    const { state } = this.#client;
    let text = t('connecting');
    let detail = '';
    if (state.name === 'connected') {
      text = t('connected');
      const parts = [t('via', this.#instance)];
      if (this.#isChecking) parts.push(t('checking'));
      else if (this.#roundTrip !== undefined) parts.push(t('heartbeat', this.#roundTrip));
      detail = parts.join(' · ');
    } else if (state.name === 'waiting') {
      text = t('waiting', Math.max(0, Math.ceil((state.until - Date.now()) / 1000)));
      detail = t('attempt', state.attempt);
    } else if (state.name === 'closed') {
      text = t('closed');
      detail = t('closedDetail', state.code, state.reason);
    }
    $('status').dataset.state = this.#isChecking ? 'checking' : state.name;
    say($('status-text'), text);
    say($('status-detail'), detail);
    $('try-now').hidden = state.name !== 'waiting' && state.name !== 'closed';
    const notice = this.#isBehind ? 'behind' : this.#notice;
    $('notice').hidden = notice === undefined;
    say($('notice'), notice === undefined ? '' : t(notice));
  }

  // ── the list ──

  #load() {
    if (this.#inbox.items.length < this.#shown && !this.#hasAll) void this.#older();
    if (this.#folder === 'archived') void this.#loadArchive();
  }

  async #older() {
    try {
      await this.#inbox.load({ limit: PAGE });
      this.#hasAll = !this.#inbox.hasMore;
    } catch {
      // Without a connection: it is asked again when there is one.
    }
    this.#changed();
  }

  async #loadArchive() {
    try {
      const { items } = await this.#inbox.list({ state: 'archived', limit: 200 });
      this.#archived = items;
    } catch {
      // As above.
    }
    this.#renderList();
  }

  /** Once for all that comes in a turn. */
  #changed() {
    if (this.#isDue) return;
    this.#isDue = true;
    queueMicrotask(() => {
      this.#isDue = false;
      if (this.#isEnded) return;
      if (this.#folder === 'archived') void this.#loadArchive();
      this.#renderList();
      this.#renderReader();
    });
  }

  show(folder) {
    this.#folder = folder;
    this.#shown = PAGE;
    this.#archived = [];
    this.#open = undefined;
    this.#renderReader();
    this.#load();
    this.#renderList();
  }

  showOlder() {
    this.#shown += PAGE;
    this.#load();
    this.#renderList();
  }

  get #items() {
    if (this.#folder === 'archived') return this.#archived;
    const items = this.#inbox.items.filter(({ archived }) => !archived);
    return this.#folder === 'unread' ? items.filter(({ state }) => state !== 'read') : items;
  }

  #renderList() {
    if (this.#isEnded) return;
    for (const button of document.querySelectorAll('[data-folder]'))
      button.setAttribute('aria-current', String(button.dataset.folder === this.#folder));
    const { unread, all } = this.#inbox.counts ?? { unread: 0, all: 0 };
    say($('all-count'), all > 0 ? String(all) : '');
    say($('unread-count'), unread > 0 ? String(unread) : '');
    $('unread').hidden = unread === 0;
    say($('unread'), unread === 0 ? '' : t('unread', unread));
    $('read-all').disabled = unread === 0;
    say($('folder-title'), t({ inbox: 'inbox', unread: 'unreadFolder', archived: 'archived' }[this.#folder]));

    const items = this.#items;
    const list = $('list');
    const ids = new Set(items.map(({ id }) => id));
    const isFocused = list.contains(document.activeElement);
    for (const [id, row] of this.#rows)
      if (!ids.has(id)) {
        row.remove();
        this.#rows.delete(id);
      }
    items.slice(0, this.#shown).forEach((item, i) => {
      const row = this.#row(item);
      if (list.children[i] !== row) list.insertBefore(row, list.children[i] ?? null);
    });
    // It went with a mail that was archived or deleted.
    if (isFocused && !list.contains(document.activeElement))
      (list.querySelector('button') ?? $('main')).focus();
    $('empty').hidden = items.length > 0;
    say($('empty'), t(`empty-${this.#folder}`));
    $('older').hidden =
      items.length === 0 ||
      this.#folder === 'archived' ||
      (items.length <= this.#shown && !this.#inbox.hasMore);
  }

  #row(item) {
    const { id, data, state } = item;
    const mail = mailOf(data);
    let row = this.#rows.get(id);
    if (row === undefined) {
      row = $('mail-template').content.firstElementChild.cloneNode(true);
      this.#rows.set(id, row);
      translate(row);
      row.querySelector('.mail-head').addEventListener('click', () => this.read(row.item));
      const from = mail.from || t('system');
      paintAvatar(row.querySelector('.avatar'), from);
      row.querySelector('.mail-from').textContent = from;
      row.querySelector('.mail-subject').textContent = mail.subject || t('noSubject');
      row.querySelector('.mail-preview').textContent = mail.text.slice(0, 200);
      showTime(row.querySelector('time'), item.time);
    }
    row.item = item;
    row.classList.toggle('unread', state !== 'read');
    row.querySelector('.new').hidden = state === 'read';
    row.querySelector('.mail-head').setAttribute('aria-current', String(id === this.#open?.id));
    return row;
  }

  readAll() {
    this.#inbox.markAllRead().catch(ignore);
    say($('announce'), t('unread', 0));
    $('main').focus();
  }

  // ── reading ──

  read(item) {
    this.#open = item;
    if (item.state !== 'read') this.#inbox.markRead(item).catch(ignore);
    this.#renderReader();
    this.#renderList();
    $('read').focus();
    scrollTo(0, 0);
  }

  /** Back to the list. */
  close() {
    const row = this.#rows.get(this.#open?.id);
    this.#open = undefined;
    this.#renderReader();
    this.#renderList();
    // It may have been archived or deleted.
    const next = row?.isConnected ? row : $('list').firstElementChild;
    (next?.querySelector('.mail-head') ?? $('main')).focus();
  }

  #renderReader() {
    const open = this.#open;
    const item = this.#inbox.items.find(({ id }) => id === open?.id) ?? open;
    const isOpen = item !== undefined && !this.#isEnded;
    $('mail').toggleAttribute('data-reading', isOpen);
    $('read').hidden = !isOpen;
    $('nothing-read').hidden = isOpen;
    if (!isOpen) return;
    const mail = mailOf(item.data);
    const from = mail.from || t('system');
    say($('read-subject'), mail.subject || t('noSubject'));
    say($('read-from'), from);
    paintAvatar($('read-avatar'), from);
    say($('read-text'), mail.text);
    showTime($('read-time'), item.time);
    $('read-link').hidden = mail.href === undefined;
    if (mail.href !== undefined) $('read-link').href = mail.href;
    $('reply').hidden = mail.from === '';
    say($('archive'), t(item.archived ? 'unarchive' : 'archive'));
  }

  unreadAgain() {
    this.#inbox.markUnread(this.#open).catch(ignore);
    this.close();
  }

  archive() {
    const isBack = this.#folder === 'archived';
    (isBack ? this.#inbox.unarchive(this.#open) : this.#inbox.archive(this.#open)).catch(ignore);
    this.close();
  }

  remove() {
    this.#inbox.remove(this.#open).catch(ignore);
    this.close();
  }

  reply() {
    const { from, subject } = mailOf(this.#open.data);
    write(from, /^re: /i.test(subject) ? subject : `Re: ${subject}`.slice(0, 200));
  }

  // ── writing ──

  /** @returns why the server would not have it */
  async send(to, subject, text) {
    // The same id on every try: the push server keeps the mail once.
    const id = crypto.getRandomValues(new Uint32Array(4)).join('-');
    tell(t('sending'));
    return this.#post({ id, from: this.#user, to, subject, text });
  }

  async #post(mail) {
    let response;
    try {
      response = await fetch('/demo/mail', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(mail),
      });
    } catch {
      response = undefined;
    }
    if (this.#isEnded) return undefined;
    if (response?.ok) {
      tell(t('sent', mail.to));
    } else if (response === undefined || response.status >= 500) {
      this.#unsent.push(mail);
      tell(t('unsent', mail.to));
    } else {
      tell('');
      return (await response.json().catch(() => ({}))).message ?? response.statusText;
    }
    return undefined;
  }
}

/** The inbox puts back what the server refuses, and says so by `change`. */
function ignore() {}

/** Writes only what is new, so that a screen reader isn't told the same again. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let said;
function tell(text) {
  clearTimeout(said);
  say($('sent'), text);
  said = setTimeout(say, SAID_TIME, $('sent'), '');
}

function showTime(element, time) {
  const date = new Date(time);
  const isToday = date.toDateString() === new Date().toDateString();
  element.dateTime = date.toISOString();
  element.textContent = date.toLocaleString(
    locale(),
    isToday ? { timeStyle: 'short' } : { dateStyle: 'medium' },
  );
  element.title = date.toLocaleString(locale());
}

function paintAvatar(element, name) {
  let hue = 0;
  for (const char of name) hue = (hue * 31 + char.codePointAt(0)) % 12;
  element.textContent = [...name.trim()][0]?.toUpperCase() ?? '?';
  element.dataset.hue = String(hue);
}

// ── signing in and out ───────────────────────────────────────────────────────────────────────────────

/** @type {Session | undefined} */
let session;

function signIn(user) {
  show(true);
  session = new Session(user);
}

function show(isSignedIn) {
  $('sign-in').hidden = isSignedIn;
  $('mail').hidden = $('who').hidden = !isSignedIn;
}

/** The address names the user, so that a reload and a bookmark lead back to the same inbox. */
function readAddress() {
  const user = new URLSearchParams(location.search).get(settings.userParameter)?.trim();
  session?.end();
  session = undefined;
  applyLanguage();
  if (user) signIn(user);
  else show(false);
}

function write(to, subject) {
  $('to').value = to;
  $('subject').value = subject;
  $('text').value = '';
  say($('refused'), '');
  $('composer').showModal();
  $(to === '' ? 'to' : 'text').focus();
}

$('sign-in-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const user = $('name').value.trim();
  if (user === '') return;
  history.pushState(null, '', `?${new URLSearchParams({ [settings.userParameter]: user })}`);
  readAddress();
  $('main').focus();
});
$('sign-out').addEventListener('click', () => {
  history.pushState(null, '', location.pathname);
  readAddress();
  $('name').focus();
});
for (const button of document.querySelectorAll('[data-folder]'))
  button.addEventListener('click', () => session?.show(button.dataset.folder));
$('write').addEventListener('click', () => write('', ''));
$('cancel').addEventListener('click', () => $('composer').close());
$('compose').addEventListener('submit', async (event) => {
  event.preventDefault();
  const { to, subject, text } = event.currentTarget.elements;
  if (to.value.trim() === '') return;
  const refusal = await session?.send(to.value.trim(), subject.value.trim(), text.value);
  if (refusal === undefined) $('composer').close();
  else say($('refused'), t('refused', to.value.trim(), refusal));
});
for (const [id, name] of Object.entries({
  'try-now': 'tryNow',
  'read-all': 'readAll',
  older: 'showOlder',
  back: 'close',
  'unread-again': 'unreadAgain',
  archive: 'archive',
  remove: 'remove',
  reply: 'reply',
}))
  $(id).addEventListener('click', () => session?.[name]());
addEventListener('popstate', readAddress);

$('page-instance').textContent = settings.instance;
readAddress();
if (session === undefined) $('name').focus();
