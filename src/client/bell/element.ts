/** `<tidings-bell>`: the user's messages in the corner of any page. What is seen of it is in view.ts. */
import type { InboxCounts } from '../inbox.ts';
import type { TicketSource } from '../options.ts';
import type { BellEvents, MakeRow, ReadMail } from './bell.ts';
import { rootsAround, uncaught } from './dom.ts';
import { type Mail, mailOf } from './mail.ts';
import { showInTitle } from './page-title.ts';
import { type BellClient, type BellState, type Source, useSource } from './source.ts';
import { type BellTexts, createTexts, languages, type Texts } from './texts.ts';
import { createBell } from './view.ts';

/** Set before the element is known, they would hide the properties of the same names. */
const PROPERTIES = ['client', 'ticket', 'texts', 'mail', 'row', 'open'] as const;
/** Attributes that say where the messages come from. */
const SETTINGS = ['url', 'user', 'user-parameter', 'fallback', 'ticket-url'];

/** An element whose events have types. */
interface BellBase extends HTMLElement {
  /** Listens to an event of the bell; `detail` has what the event is about. */
  addEventListener<Type extends keyof BellEvents>(
    type: Type,
    listener: (event: BellEvents[Type]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  /** Listens to an event that every element has. */
  addEventListener(...event: Parameters<HTMLElement['addEventListener']>): void;
}

/** Where there is no page, the class can be imported all the same. */
const Base = (globalThis.HTMLElement ?? class {}) as new () => BellBase;

type Task = 'connect' | 'texts' | 'rows' | 'render';

/** The element `<tidings-bell>`: its attributes, properties and events are in docs/bell.md. */
export class TidingsBell extends Base {
  /** By language: `TidingsBell.texts.de = { title: 'Nachrichten' }` adds one; what it lacks is said in English. */
  static readonly texts: Record<string, Partial<BellTexts>> = languages;

  /** What the bell makes of a message's data: plain texts, and a checked link. */
  static readonly mailOf: (data: unknown) => Mail = mailOf;

  /** Attributes that the browser tells the bell of. */
  static readonly observedAttributes = SETTINGS.concat(
    ...['lang', 'texts', 'open', 'limit', 'count', 'title-badge', 'notifications', 'sign-in-url', 'target'],
  );

  readonly #view = createBell(this, createTexts([], {}), () => this.#do('render'));
  readonly #todo = new Set<Task>();
  #client: BellClient | undefined;
  #ticket: TicketSource;
  #texts: Partial<BellTexts> | undefined;
  #observer: MutationObserver | undefined;
  /** Of the texts. */
  #languages = '';

  /** A client of the page's own, of `tidings.connect` and not of the core; else the one that the bell has made. */
  get client(): BellClient | undefined {
    return this.#client ?? this.#view.source?.client;
  }
  set client(client: BellClient | null | undefined) {
    this.#client = client ?? undefined;
    this.#do('connect');
  }

  /** A ticket, or a function that gets one, as `connect` takes it. */
  get ticket(): TicketSource {
    return this.#ticket;
  }
  set ticket(ticket: TicketSource) {
    this.#ticket = ticket;
    this.#do('connect');
  }

  /** Texts in place of the language's: those that are left out stay as they are. */
  get texts(): Partial<BellTexts> | undefined {
    return this.#texts;
  }
  set texts(texts: Partial<BellTexts> | null | undefined) {
    this.#texts = texts ?? undefined;
    this.#do('texts');
  }

  /** Reads the data of messages. */
  get mail(): ReadMail | undefined {
    return this.#view.readMail;
  }
  set mail(read: ReadMail | null | undefined) {
    this.#view.readMail = read ?? undefined;
    this.#do('rows');
  }

  /** Makes the content of rows. */
  get row(): MakeRow | undefined {
    return this.#view.makeRow;
  }
  set row(make: MakeRow | null | undefined) {
    this.#view.makeRow = make ?? undefined;
    this.#do('rows');
  }

  /** Whether the list is open: the attribute. */
  get open(): boolean {
    return this.hasAttribute('open');
  }
  set open(isOpen: boolean) {
    this.toggleAttribute('open', Boolean(isOpen));
  }

  /** What the bell shows of its connection; `tidings-state` brings every change. */
  get state(): BellState {
    return this.#view.state;
  }

  /** How many messages are unseen and unread; undefined until the server has said it. */
  get counts(): InboxCounts | undefined {
    return this.client?.inbox.counts;
  }

  /** Called by the browser when the bell is put into a page: it connects. */
  connectedCallback(): void {
    const own = this as Record<string, unknown>;
    for (const name of PROPERTIES) {
      if (!Object.hasOwn(own, name)) continue;
      const value = own[name];
      delete own[name];
      own[name] = value;
    }
    this.#observer = new MutationObserver(() => {
      if (`${languagesOf(this)}` !== this.#languages) this.#do('texts');
    });
    for (const root of rootsAround(this))
      this.#observer.observe(root, { attributeFilter: ['lang'], subtree: true });
    this.#do('texts');
    // Scripts that stand below this one may have settings for it.
    const [page] = performance.getEntriesByType('navigation') as PerformanceNavigationTiming[];
    const isParsed = document.readyState === 'complete' || page?.domContentLoadedEventStart !== 0;
    if (isParsed) this.#do('connect');
    else
      document.addEventListener(
        'DOMContentLoaded',
        () => {
          this.#do('connect');
          this.#do('texts');
        },
        { once: true },
      );
    this.#view.toggled();
  }

  /** Called by the browser when the bell is taken away: it closes the connection that it has made. */
  disconnectedCallback(): void {
    this.#observer?.disconnect();
    this.#view.left();
    // Not where it is put back in this turn, as by a move.
    setTimeout(() => this.isConnected || this.#use(undefined));
  }

  /** Called by the browser when an attribute was changed. */
  attributeChangedCallback(name: string, old: string | null, value: string | null): void {
    if (name === 'open') this.#view.toggled();
    else if (old !== value)
      this.#do(
        SETTINGS.includes(name)
          ? 'connect'
          : name === 'lang' || name === 'texts'
            ? 'texts'
            : name === 'target'
              ? 'rows'
              : 'render',
      );
  }

  /** Once for all that happens in a turn. */
  #do(task: Task): void {
    this.#todo.add(task);
    if (this.#todo.size > 1) return;
    queueMicrotask(() => {
      const todo = new Set(this.#todo);
      this.#todo.clear();
      if (!this.isConnected) return;
      if (todo.has('connect')) this.#connect();
      if (todo.has('texts')) this.#view.texts = this.#chooseTexts();
      this.#view.render(todo.has('texts') || todo.has('rows'));
    });
  }

  #connect(): void {
    const [url, user, userParameter, fallback, ticketUrl] = SETTINGS.map(
      (name) => this.getAttribute(name) ?? undefined,
    );
    const settings = { url, user, userParameter, fallback, ticketUrl, ticket: this.#ticket };
    try {
      // A client of the page's own has been told all that.
      this.#use(useSource(this.#client === undefined ? settings : { client: this.#client }, this.#view));
    } catch (error) {
      this.#use(undefined);
      uncaught(error);
    }
  }

  #use(source: Source | undefined): void {
    const old = this.#view.source;
    if (old === source) return;
    this.#view.source = source;
    if (old === undefined) return;
    showInTitle(this, undefined, 0);
    old.leave(this.#view);
  }

  #chooseTexts(): Texts {
    const attribute = this.getAttribute('texts');
    let own: unknown = this.#texts;
    if (own === undefined && attribute !== null) {
      try {
        own = JSON.parse(attribute);
      } catch (error) {
        uncaught(error);
      }
    }
    const chosen = languagesOf(this);
    this.#languages = `${chosen}`;
    return createTexts(chosen, (own ?? {}) as Partial<BellTexts>);
  }
}

/** The language of the place where the element stands; the reader's, where the page says nothing. */
function languagesOf(element: Element): readonly string[] {
  for (let at: Element | null = element; at !== null; ) {
    const named: Element | null = at.closest('[lang]');
    if (named !== null) return [named.getAttribute('lang')!];
    const root = at.getRootNode();
    at = root instanceof ShadowRoot ? root.host : null;
  }
  return navigator.languages;
}

declare global {
  interface HTMLElementTagNameMap {
    'tidings-bell': TidingsBell;
  }
}
