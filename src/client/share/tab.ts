/**
 * A tab that shares one connection with the others of its origin, endpoint and user. Whoever has the lock leads: its hub
 * has the connection and speaks to all by a BroadcastChannel. For the client of each tab this is a transport like any
 * other. A new leader is told by its term, which is higher than all before; then every client greets anew, from where its
 * page is.
 */
import type { WirePosition } from '../../push/talk/wire.ts';
import { randomId } from '../identity.ts';
import { isFinal } from '../reconnect.ts';
import type { TransportEvents, TransportFactory } from '../transport.ts';
import { isHidden } from '../wake.ts';
import type { ClientTools } from './client-tools.ts';
import { handOver } from './hand-over.ts';
import { createHub, type Hub } from './hub.ts';
import type { Lock } from './locks.ts';
import { ENDED, type HubWords, type Saying, type TabWords } from './words.ts';

/** Milliseconds between two batches, at least, where timers can be trusted. */
const BATCH = 16;
/** Milliseconds of silence after which a tab that is seen asks whether the leader is there, and those for an answer. */
const SILENCE = 500;
const PATIENCE = 700;

/** A connection of the client that goes through this tab. */
interface Member {
  id: string;
  url: string;
  protocols: string[];
  events: TransportEvents;
  /** Its first frame. */
  hello: string;
  /** Where it is, by channel. Empty: not welcomed yet. */
  at: Map<string, WirePosition>;
  /** Gives up the lock by which the leader sees whether it is there. */
  free?: () => void;
}

export interface TabOptions {
  /** Makes the connection, where this tab leads. */
  dial: TransportFactory;
  lock: Lock;
  tools: ClientTools;
  ticketParameter: string | undefined;
}

export function createTab({ dial, lock, tools, ticketParameter }: TabOptions): TransportFactory {
  const [askTicket, failed, again, , alone, device] = tools;
  let member: Member | undefined;
  let hub: Hub | undefined;
  /** The id of its own tab in it. */
  let own = '';
  /** Of whose group it is; unknown until the server has named him: until then the tab connects by itself. */
  let user: string | undefined;
  let who: unknown;
  let name = '';
  let channel: BroadcastChannel | undefined;
  /** Gives up the lock, or the place in its queue. */
  let free: (() => void) | undefined;
  let isLeader = false;
  let term = 0;
  let leader = '';
  /** The client is greeting anew: its next connection takes the place of this one. */
  let isMoving = false;
  /** And the hub stays as it is. */
  let isStaying = false;
  let isAsleep = false;
  /** Why the session of the leader has ended: a tab that then is not let in is told that. Empty once it is. */
  let why: string | undefined;
  /** The ticket that this tab has asked for last; and one that was so late that another tab leads meanwhile. */
  let ticket: ReturnType<typeof askTicket>;
  let late: typeof ticket | undefined;
  let queue: Saying[] = [];
  let posted = 0;
  let batch: ReturnType<typeof setTimeout> | undefined;
  let heard = 0;
  let asked = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  // ── what tabs say to each other ──────────────────────────────────────────────────────────────────────

  const post = (words: HubWords | TabWords): void => channel?.postMessage(words);

  /** @param isSign also where there is nothing to say */
  const flush = (isSign?: boolean): void => {
    clearTimeout(batch);
    batch = undefined;
    if (!isLeader || !(isSign || queue.length)) return;
    post([term, leader, queue]);
    queue = [];
    posted = Date.now();
  };

  const say = (saying: Saying): void => {
    const [to, what] = saying;
    const id = member?.id;
    if (isLeader && to !== id) {
      queue.push(saying);
      if (what && typeof what === 'number') tellEnd(to);
      // Timers of hidden tabs fire once a second, or not at all.
      else if (isHidden() || Date.now() - posted >= BATCH) queue.length > 1 || queueMicrotask(flush);
      else batch ??= setTimeout(flush, BATCH);
    }
    if (!to || to === id) hear(saying);
  };

  const heardWords = ({ data }: MessageEvent<HubWords | TabWords>): void => {
    try {
      const [its, from, what] = data;
      if (typeof what === 'object') fromHub(its, from, what);
      else if (hub && isLeader && (!its || its === term)) fromTab(hub, from, what);
    } catch {
      // Of another script of this origin: nothing of ours is like that.
    }
  };

  const fromTab = (own: Hub, tab: string, text: string | undefined): void => {
    if (text !== undefined) own.take(tab, text);
    else {
      flush(true);
      own.check();
    }
  };

  const fromHub = (its: number, from: string, says: Saying[]): void => {
    if (its < term || (its === term && from < leader)) {
      // It does not know yet that it leads no more.
      if (hub) flush(true);
      return;
    }
    if (its > term || from !== leader) follow(its, from);
    heard = Date.now();
    asked = 0;
    const me = member;
    for (const saying of says) if (me && me === member && (!saying[0] || saying[0] === me.id)) hear(saying);
  };

  /** What the server says, by its hub. */
  const hear = ([to, what, about, after, position]: Saying): void => {
    const me = member;
    if (!me) return;
    const { at, events, hello } = me;
    if (typeof what === 'number') {
      if (what > 0) {
        leave();
        const isRefused = !at.size && isFinal(what);
        events.close(what, (isRefused && why) || about || '');
        why = '';
      } else if (what < 0) {
        why = about;
        post([term, me.id, '']);
      } else {
        isStaying = true;
        move();
      }
      return;
    }
    if (about !== undefined) {
      const last = at.get(about);
      if (!last && !(to && position)) return;
      if (last && position && after !== undefined) {
        // Something is missing: it is sent again from here. A log that was empty has another epoch with its first message.
        if (last.epoch === position.epoch ? after > last.offset : after + last.offset > 0) {
          isStaying = true;
          move();
        }
        if (member !== me || position.offset <= last.offset) return;
      }
      if (position) {
        at.set(about, position);
        why = '';
        late = undefined;
      } else if (after === ENDED) at.delete(about);
    }
    // Before it has greeted, nothing is for it.
    if (what && hello) events.message(what);
  };

  // ── who leads ────────────────────────────────────────────────────────────────────────────────────────

  const join = (me: Member): void => {
    const wanted = `tidings:1:${device()}:${user}:${me.url}`;
    if (name !== wanted) quit();
    name = wanted;
    if (!channel) {
      term = 0;
      leader = '';
      channel = new BroadcastChannel(name);
      channel.onmessage = heardWords;
    }
    if (!free) request(false);
    heard = Date.now();
    if (!leader) post([0, me.id]);
  };

  /** Gets a new place in the queue for the lock. */
  const request = (isSteal: boolean): void => {
    free?.();
    const place = lock(name, isSteal, granted, (had) => {
      // A place that it has left, or is about to hand over, is no loss.
      if (free === place) lost(had);
    });
    free = place;
  };

  /** Leads no more, and does not want to. */
  const yields = (): void => {
    flush();
    free?.();
    free = undefined;
    isLeader = false;
    queue = [];
  };

  /** @param to whom it was said that the connection has ended; empty: all of them */
  const tellEnd = (to: string): void => {
    flush();
    const others = [...(hub as Hub).guests()].filter((id) => id !== own && (!to || id === to));
    if (channel && free) handOver(new Set(others), channel, free);
    channel = free = undefined;
  };

  /** Leaves the group. What the tab has for itself it keeps. */
  const quit = (): void => {
    yields();
    clearTimeout(timer);
    channel?.close();
    channel = undefined;
  };

  const granted = (): void => {
    isLeader = true;
    if (!member) quit();
    else if (hub) announce(member);
    else if (member.at.size) move();
    else lead(member);
  };

  const lost = (had: boolean): void => {
    free = undefined;
    yields();
    if (had) move();
    else alone();
  };

  const announce = (me: Member): void => {
    flush();
    term = Math.max(term + 1, Date.now());
    leader = me.id;
    flush(true);
  };

  const dead = (): void => {
    yields();
    move();
  };

  const lead = (me: Member): void => {
    own = me.id;
    if (isLeader) announce(me);
    hub = createHub(dial, me.id, {
      say,
      failed,
      async address() {
        ticket = late ?? askTicket();
        const value = await ticket;
        const to = new URL(me.url);
        if (value && ticketParameter) to.searchParams.set(ticketParameter, value);
        return [to.href, value && !ticketParameter ? [...me.protocols, `ticket.${value}`] : me.protocols];
      },
      named(by) {
        if (channel && by === user) return;
        // Another one than was thought: of him nobody here has asked for anything.
        quit();
        user = by;
        join(me);
      },
      mourn: (tab, gone) => lock(`${name}:${tab}`, false, gone, () => {}),
      dead,
      slow() {
        // Once: where all of them are slow, whoever is asked again waits as long as a single tab does.
        if (late) return;
        const own = ticket;
        late = own;
        dead();
        own.then(
          () => {
            if (late === own && !hub) request(true);
          },
          // The next time that this tab leads, it is told.
          () => {},
        );
      },
    });
    if (me.hello) hub.take(me.id, me.hello);
  };

  const follow = (its: number, from: string): void => {
    term = its;
    leader = from;
    if (isLeader) yields();
    if (hub || member?.at.size) move();
    else if (member?.hello) post([term, member.id, member.hello]);
  };

  /** A leader that is silent is none. Only tabs that are seen, or have none yet, look: the others' timers are late. */
  const look = (): void => {
    clearTimeout(timer);
    if (!channel || hub || !member || (member.at.size && isHidden())) return;
    const now = Date.now();
    const patience = PATIENCE * (1 + Math.random() / 4);
    let wait = heard + SILENCE - now;
    if (wait <= 0) {
      // The second time: this tab has stood still itself.
      if (!asked || now - asked > 2 * patience) {
        asked = now;
        post([0, member.id]);
      }
      wait = asked + patience - now;
      if (wait <= 0) {
        asked = 0;
        heard = now;
        wait = patience;
        request(true);
      }
    }
    timer = setTimeout(look, wait);
  };

  // ── the client's transport ───────────────────────────────────────────────────────────────────────────

  const bye = ({ id, free: unlock }: Member): void => {
    post([term, id, '']);
    unlock?.();
  };

  const leave = (): void => {
    if (member) bye(member);
    member = undefined;
    if (!isStaying) hub = undefined;
    if (isMoving) return;
    hub = late = undefined;
    quit();
    listen('removeEventListener');
  };

  /** The client greets anew. */
  const move = (): void => {
    isMoving = true;
    if (member) again();
    isMoving = isStaying = false;
    if (!member) {
      hub?.close();
      leave();
    }
  };

  const turned = ({ type }: Event): void => {
    if (type === 'offline') hub?.ping();
    else if (type === 'visibilitychange') {
      flush();
      look();
    } else if (type === 'pagehide' || type === 'freeze') {
      isAsleep = true;
      hub?.close();
      hub = late = undefined;
      if (member) bye(member);
      quit();
    } else if (isAsleep) {
      isAsleep = false;
      move();
    }
  };

  const listen = (how: 'addEventListener' | 'removeEventListener'): void => {
    // Once the client has said what it had to.
    for (const type of ['pagehide', 'pageshow', 'offline', 'freeze', 'resume', 'visibilitychange'])
      globalThis[how](type, turned as EventListener, type !== 'pagehide');
  };

  return (url, protocols, events) => {
    const me: Member = { id: hub ? own : randomId(), url, protocols, events, hello: '', at: new Map() };
    member = me;
    if (tools[3] !== who) user = undefined;
    who = tools[3];
    listen('addEventListener');
    const open = (): void => {
      if (member === me && !me.hello) events.open();
    };
    if (hub) queueMicrotask(open);
    else if (user === undefined) {
      quit();
      lead(me);
      queueMicrotask(open);
    } else {
      join(me);
      if (isLeader) lead(me);
      look();
      me.free = lock(`${name}:${me.id}`, false, open, open);
    }
    return {
      send(text) {
        if (member !== me || isAsleep) return;
        me.hello ||= text;
        if (hub) hub.take(me.id, text);
        else if (text.startsWith('{"type":"renew"')) {
          // Perhaps another user's: the server will say.
          user = undefined;
          move();
        } else if (leader) post([term, me.id, text]);
      },
      close(code, reason) {
        if (member !== me) return;
        if (!isStaying) hub?.close(code, reason);
        leave();
      },
    };
  };
}
