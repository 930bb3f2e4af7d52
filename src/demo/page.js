/** The demo page: signing in, the inbox, writing, and what the connection does. */
import { Mailbox, toMail } from './mailbox.js';
import { chooseLanguage, texts } from './texts.js';

/** @typedef {import('./mailbox.js').Mail} Mail */

const settings = JSON.parse(document.querySelector('meta[name=tidings]').content);
const $ = (id) => document.getElementById(id);
const LANGUAGE_KEY = 'tidings-demo:language';
/** Milliseconds that a tip stays, unless it is pointed at or has the focus. */
const TIP_TIME = 8_000;

// ── language ─────────────────────────────────────────────────────────────────────────────────────────

let language = chooseLanguage([stored(LANGUAGE_KEY) ?? '', ...navigator.languages]);

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
  for (const button of document.querySelectorAll('[data-language]'))
    button.setAttribute('aria-pressed', String(button.dataset.language === language));
  document.title = t('brand');
  session?.render();
}

for (const button of document.querySelectorAll('[data-language]'))
  button.addEventListener('click', () => {
    language = button.dataset.language;
    store(LANGUAGE_KEY, language);
    applyLanguage();
  });

function stored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function store(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Forbidden: it holds until the page is left.
  }
}

// ── one user's session ───────────────────────────────────────────────────────────────────────────────

class Session {
  #user;
  #mailbox;
  #client;
  #instance = '';
  #roundTrip;
  #isChecking = false;
  #isBehind = false;
  /** The name of the text under the status line. */
  #notice;
  #countdown;
  /** By the mail's key. @type {Map<string, HTMLLIElement>} */
  #items = new Map();
  /** By the mail's key. @type {Map<string, HTMLElement>} */
  #tips = new Map();
  /** Mails that could not be sent for want of a connection. */
  #unsent = [];
  /** What the line under the form says, as a function of the language. */
  #sentText = () => '';
  #isEnded = false;

  constructor(user) {
    this.#user = user;
    this.#mailbox = new Mailbox(user);
    this.#client = tidings.connect({
      url: settings.path,
      user,
      userParameter: settings.userParameter,
      start: 'beginning',
      ack: 'manual',
      heartbeat: { interval: 15_000, timeout: 15_000 },
    });
    const client = this.#client;
    client.on('state', (state) => this.#stateChanged(state));
    client.on('open', (event) => {
      this.#instance = event.instance;
      this.#mailbox.acked(event.channels.inbox?.acked);
      this.#renderList();
      this.#renderStatus();
      this.#sendUnsent();
    });
    client.on('message', (message) => this.#arrived(toMail(message)));
    client.on('acked', ({ channel, position }) => {
      if (channel !== 'inbox') return;
      this.#mailbox.acked(position);
      this.#renderList();
    });
    client.on('gap', ({ reason }) => {
      if (reason !== 'trimmed') this.#clear();
      this.#notice = reason === 'trimmed' ? 'trimmed' : 'rewound';
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
    this.render();
  }

  render() {
    $('my-name').textContent = this.#user;
    paintAvatar($('my-avatar'), this.#user);
    for (const mail of this.#mailbox.mails) this.#renderMail(mail);
    this.#renderList();
    this.#renderStatus();
    $('sent').textContent = this.#sentText();
  }

  end() {
    this.#isEnded = true;
    clearInterval(this.#countdown);
    this.#client.close();
    this.#clear();
    $('tips').replaceChildren();
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

  // ── the inbox ──

  /** @param {Mail} mail */
  #arrived(mail) {
    if (!this.#mailbox.add(mail)) return;
    this.#renderMail(mail);
    this.#renderList();
    if (mail.time >= settings.time && !this.#mailbox.isRead(mail)) this.#tip(mail);
  }

  #clear() {
    this.#mailbox.clear();
    this.#items.clear();
    $('list').replaceChildren();
  }

  /** @param {Mail} mail */
  #read(...mails) {
    for (const { key } of mails) this.#tips.get(key)?.remove();
    const position = this.#mailbox.read(mails);
    if (position !== undefined) this.#client.ack({ channel: 'inbox', position });
    this.#renderList();
  }

  readAll() {
    this.#read(...this.#mailbox.mails);
    say($('announce'), t('unread', this.#mailbox.unread));
  }

  /** Makes the mail's line, or brings its texts up to date. @param {Mail} mail */
  #renderMail(mail) {
    let item = this.#items.get(mail.key);
    if (item === undefined) {
      item = this.#makeItem(mail);
      this.#items.set(mail.key, item);
      $('list').prepend(item);
    }
    translate(item);
    const from = mail.from ?? t('system');
    paintAvatar(item.querySelector('.avatar'), from);
    item.querySelector('.mail-from').textContent = from;
    item.querySelector('.mail-subject').textContent = mail.subject || t('noSubject');
    const time = item.querySelector('time');
    const date = new Date(mail.time);
    const isToday = date.toDateString() === new Date().toDateString();
    time.dateTime = date.toISOString();
    time.textContent = date.toLocaleString(
      locale(),
      isToday ? { timeStyle: 'short' } : { dateStyle: 'medium' },
    );
    time.title = date.toLocaleString(locale());
  }

  /** @param {Mail} mail */
  #makeItem(mail) {
    const item = $('mail-template').content.firstElementChild.cloneNode(true);
    const head = item.querySelector('.mail-head');
    const body = item.querySelector('.mail-body');
    body.id = `body-${mail.key}`;
    head.setAttribute('aria-controls', body.id);
    item.querySelector('.mail-text').textContent = mail.text;
    head.addEventListener('click', () => {
      body.hidden = !body.hidden;
      head.setAttribute('aria-expanded', String(!body.hidden));
      if (!body.hidden) this.#read(mail);
    });
    const reply = item.querySelector('.reply');
    reply.hidden = mail.from === undefined;
    reply.addEventListener('click', () => {
      $('to').value = mail.from;
      $('subject').value = /^re: /i.test(mail.subject) ? mail.subject : `Re: ${mail.subject}`.slice(0, 200);
      $('text').focus();
    });
    return item;
  }

  #renderList() {
    const { mails, unread } = this.#mailbox;
    for (const mail of mails) {
      const item = this.#items.get(mail.key);
      const isRead = this.#mailbox.isRead(mail);
      item?.classList.toggle('unread', !isRead);
      const mark = item?.querySelector('.new');
      if (mark) mark.hidden = isRead;
    }
    $('empty').hidden = mails.length > 0;
    $('unread').hidden = unread === 0;
    say($('unread'), unread === 0 ? '' : t('unread', unread));
    $('read-all').disabled = unread === 0;
    document.title = t('title', this.#user, unread);
  }

  /** @param {Mail} mail */
  #tip(mail) {
    const tip = document.createElement('div');
    tip.className = 'tip';
    const text = document.createElement('p');
    text.textContent = t('tip', mail.from ?? t('system'), mail.subject || t('noSubject'));
    const open = document.createElement('button');
    open.type = 'button';
    open.textContent = t('open');
    const dismiss = document.createElement('button');
    dismiss.type = 'button';
    dismiss.className = 'quiet';
    dismiss.textContent = t('dismiss');
    tip.append(text, open, dismiss);

    open.addEventListener('click', () => {
      const head = this.#items.get(mail.key)?.querySelector('.mail-head');
      if (head?.getAttribute('aria-expanded') === 'false') head.click();
      head?.focus();
    });
    dismiss.addEventListener('click', () => {
      tip.remove();
      $('main').focus();
    });
    const expire = () =>
      setTimeout(() => {
        if (tip.matches(':hover, :focus-within')) expire();
        else tip.remove();
      }, TIP_TIME);
    expire();
    this.#tips.set(mail.key, tip);
    $('tips').append(tip);
    while ($('tips').childElementCount > 2) $('tips').firstElementChild.remove();
  }

  // ── writing ──

  async send(to, subject, text) {
    // The same id on every try: the push server keeps the mail once.
    const mail = {
      id: crypto.getRandomValues(new Uint32Array(4)).join('-'),
      from: this.#user,
      to,
      subject,
      text,
    };
    this.#tell(() => t('sending'));
    return this.#post(mail);
  }

  /** @returns false if the server would not have it */
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
    if (this.#isEnded) return true;
    if (response?.ok) this.#tell(() => t('sent', mail.to));
    else if (response === undefined || response.status >= 500) {
      this.#unsent.push(mail);
      this.#tell(() => t('unsent', mail.to));
    } else {
      const why = (await response.json().catch(() => ({}))).message ?? response.statusText;
      this.#tell(() => t('refused', mail.to, why));
      return false;
    }
    return true;
  }

  #sendUnsent() {
    for (const mail of this.#unsent.splice(0)) void this.#post(mail);
  }

  #tell(text) {
    this.#sentText = text;
    say($('sent'), text());
  }
}

/** Writes only what is new, so that a screen reader isn't told the same again. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
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
  session = new Session(user);
  show(true);
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
  if (user) signIn(user);
  else show(false);
  applyLanguage();
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
$('compose').addEventListener('submit', async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const { to, subject, text } = form.elements;
  if (to.value.trim() === '') return;
  const isTaken = await session?.send(to.value.trim(), subject.value.trim(), text.value);
  if (!isTaken) return;
  subject.value = text.value = '';
  to.focus();
});
$('try-now').addEventListener('click', () => session?.tryNow());
$('read-all').addEventListener('click', () => session?.readAll());
addEventListener('popstate', readAddress);

$('page-instance').textContent = settings.instance;
readAddress();
if (session === undefined) $('name').focus();
