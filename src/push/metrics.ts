/** What a push server has counted, as metrics. Who counts what is in the rooms; the names are here, and in docs/metrics.md. */
import { watchLoop } from '../metrics/event-loop.ts';
import { counter, type Family, gauge, type Labelled } from '../metrics/family.ts';
import { histogram } from '../metrics/histogram.ts';
import type { Observed } from '../metrics/otel.ts';
import { processFamilies } from '../metrics/process.ts';
import { MARK_AS } from '../pubsub/store/marks.ts';
import { TRANSPORT_KINDS } from '../server/transport.ts';
import { STORE_KINDS, STORE_OPERATIONS } from './delivery/counted-broker.ts';
import { GAP_REASONS, RECOVERY_RESULTS } from './delivery/delivery-counts.ts';
import { REFUSAL_REASONS } from './door/handshake-counts.ts';
import { CLOSE_CLASSES, SLOWNESS } from './pages/session-counts.ts';
import type { Rooms } from './rooms.ts';

export class PushMetrics implements Observed {
  readonly #rooms: Rooms;
  #stopWatching: (() => void) | undefined;
  #isClosed = false;

  constructor(rooms: Rooms) {
    this.#rooms = rooms;
  }

  families(): Family[] {
    if (!this.#isClosed) this.#stopWatching ??= watchLoop();
    const rooms = this.#rooms;
    return [
      ...doorFamilies(rooms),
      ...sessionFamilies(rooms),
      ...trafficFamilies(rooms),
      ...sendingFamilies(rooms),
      ...deliveryFamilies(rooms),
      ...storeFamilies(rooms),
      ...rooms.parts.families(),
      ...histogramsOf(rooms).map(({ name, help, of }) => histogram(name, help, of)),
      ...processFamilies(),
    ];
  }

  histograms(): ReturnType<Observed['histograms']> {
    return [...histogramsOf(this.#rooms), ...this.#rooms.parts.histograms()];
  }

  close(): void {
    this.#isClosed = true;
    this.#stopWatching?.();
  }
}

function doorFamilies({ handshakes, listeners, life }: Rooms): Family[] {
  const { turnedAway } = listeners;
  const refusals = REFUSAL_REASONS.map(
    (reason): Labelled => [{ reason }, handshakes.refused[reason] + (turnedAway[reason] ?? 0)],
  );
  const refused = refusals.reduce((sum, [, count]) => sum + count, 0);
  return [
    counter('tidings_handshakes_total', 'Handshakes that have ended, by how.', [
      [{ outcome: 'accepted' }, handshakes.accepted],
      [{ outcome: 'refused' }, refused],
    ]),
    counter('tidings_refusals_total', 'Handshakes that were refused or given up, by reason.', refusals),
    gauge(
      'tidings_handshakes_pending',
      'Handshakes that are under way, and those that wait for their turn.',
      [
        [{ state: 'asked' }, handshakes.pending.size - handshakes.waiting.size],
        [{ state: 'waiting' }, handshakes.waiting.size],
      ],
    ),
    gauge('tidings_draining', 'Whether this instance is going.', Number(life.isDraining), 'max'),
  ];
}

function sessionFamilies({ registry, lobby, listeners, settings }: Rooms): Family[] {
  const { counts } = registry;
  const rows = [...counts];
  return [
    gauge(
      'tidings_sessions',
      'Sessions that are open.',
      rows.map(([mode, transport, open]) => [{ mode, transport }, open]),
    ),
    gauge(
      'tidings_sessions_limit',
      'Sessions that there may be (limits.sessions); 0: no limit.',
      settings.limits.sessions,
    ),
    counter(
      'tidings_sessions_opened_total',
      'Sessions since the start.',
      rows.map(([mode, transport, , opened]) => [{ mode, transport }, opened]),
    ),
    counter(
      'tidings_closes_total',
      'Sessions that have ended, by close code; of codes that are not known, by range.',
      CLOSE_CLASSES.map((code, i) => [{ code }, counts.closed[i]!]),
    ),
    counter(
      'tidings_slow_closes_total',
      'Sessions that this server has closed as too slow, by how.',
      SLOWNESS.map((reason) => [{ reason }, counts.slow[reason]]),
    ),
    gauge('tidings_outbox_bytes', 'Bytes that wait for pages to read them.', registry.bufferedAmount),
    gauge('tidings_slow_sessions', 'Sessions whose outbox is full.', lobby.fullCount),
    gauge(
      'tidings_sockjs_http_sessions',
      "SockJS's sessions over HTTP, also those that are over and kept for late requests.",
      listeners.httpSessions,
    ),
    gauge(
      'tidings_http2_connections',
      'Connections of HTTP/2 that have WebSockets on them.',
      listeners.streams.connections,
    ),
    gauge(
      'tidings_http2_websockets',
      'WebSockets on streams of HTTP/2, open or asked for.',
      listeners.streams.websockets,
    ),
  ];
}

function trafficFamilies({ listeners: { traffic } }: Rooms): Family[] {
  const of = (value: 'framesIn' | 'framesOut' | 'bytesIn' | 'bytesOut'): Labelled[] =>
    TRANSPORT_KINDS.map((transport) => [{ transport }, traffic[transport][value]]);
  return [
    counter(
      'tidings_received_frames_total',
      'Frames that have come, those of control among them.',
      of('framesIn'),
    ),
    counter(
      'tidings_sent_frames_total',
      'Frames that were sent, those of control among them.',
      of('framesOut'),
    ),
    counter('tidings_received_bytes_total', 'Bytes of frames that have come.', of('bytesIn')),
    counter('tidings_sent_bytes_total', 'Bytes of frames that were sent.', of('bytesOut')),
  ];
}

function sendingFamilies({ publisher, scheduler }: Rooms): Family[] {
  const { published, duplicates, failed, notified } = publisher;
  const { added, cancelled, sent, postponed, failed: refused } = scheduler.counts;
  return [
    counter(
      'tidings_published_total',
      'Messages given to the store through this instance, by what became of them.',
      [
        [{ result: 'stored' }, published - duplicates],
        [{ result: 'duplicate' }, duplicates],
        [{ result: 'failed' }, failed],
      ],
    ),
    counter('tidings_notified_total', 'Messages sent without being stored.', notified),
    counter(
      'tidings_scheduled_total',
      'What was done with messages that are sent later, through this instance.',
      [
        [{ event: 'added' }, added],
        [{ event: 'cancelled' }, cancelled],
        [{ event: 'sent' }, sent],
        [{ event: 'postponed' }, postponed],
        [{ event: 'failed' }, refused],
      ],
    ),
    gauge(
      'tidings_scheduled_under_way',
      'Messages that this instance has taken out of the schedule and is storing.',
      scheduler.underWay,
    ),
  ];
}

function deliveryFamilies({ router }: Rooms): Family[] {
  const { counts } = router;
  return [
    gauge('tidings_channels', 'Channels that somebody here needs.', router.size),
    counter('tidings_deliveries_total', 'Messages written to sessions, by where they came from.', [
      [{ source: 'live' }, counts.live],
      [{ source: 'log' }, counts.fromLog],
      [{ source: 'transient' }, counts.transient],
    ]),
    counter(
      'tidings_dropped_total',
      'Messages that were not written as a session reads too slowly, and that no log brings later.',
      [
        [{ reason: 'transient' }, counts.dropped.transient],
        [{ reason: 'overflow' }, counts.dropped.overflow],
      ],
    ),
    counter('tidings_acknowledgements_total', 'Acknowledgements of devices.', counts.acknowledged),
    counter(
      'tidings_recoveries_total',
      'How it was for pages that have come back with a position.',
      RECOVERY_RESULTS.map((result) => [{ result }, counts.recoveries[result]]),
    ),
    counter(
      'tidings_gaps_total',
      'How often a session was told that messages are missing, by reason.',
      GAP_REASONS.map((reason) => [{ reason }, counts.gaps[reason]]),
    ),
    counter(
      'tidings_channel_doubts_total',
      'How often a channel has gone back to its log, as messages may have been missed.',
      counts.doubts,
    ),
    counter('tidings_outbox_full_total', "How often a session's outbox was full.", counts.full),
    counter(
      'tidings_marks_total',
      'How often messages were marked through this instance, and as what.',
      MARK_AS.map((as) => [{ as }, counts.marks[as]]),
    ),
    counter(
      'tidings_marked_messages_total',
      'Messages that have another state by that than before.',
      MARK_AS.map((as) => [{ as }, counts.marked[as]]),
    ),
    counter(
      'tidings_withdrawn_total',
      'Messages that were taken back through this instance.',
      counts.withdrawn,
    ),
  ];
}

function storeFamilies({ router, publisher, settings: { broker } }: Rooms): Family[] {
  return [
    gauge('tidings_store_up', 'Whether the store can be reached.', Number(!router.isAway), 'min'),
    gauge(
      'tidings_store_state_since_seconds',
      'When the store was last lost or found, in seconds since 1970.',
      router.stateSince / 1000,
      'max',
    ),
    counter('tidings_store_outages_total', 'How often the store was lost.', router.outages),
    gauge(
      'tidings_store_faults',
      'What is wrong with a store that can be reached, such as damaged channels.',
      broker.faultCount,
      'max',
    ),
    counter(
      'tidings_store_calls_total',
      'What the store was asked for.',
      STORE_OPERATIONS.map((operation) => [{ operation }, broker.calls[operation]]),
    ),
    counter(
      'tidings_store_errors_total',
      'Calls of the store that have failed.',
      STORE_OPERATIONS.map((operation) => [
        { operation },
        operation === 'publish' ? publisher.failed : broker.failures[operation],
      ]),
    ),
  ];
}

/** Those that are counted one by one. */
function histogramsOf({ router, scheduler, settings }: Rooms): ReturnType<Observed['histograms']> {
  const { liveDelays, logDelays, ackDelays } = router.counts;
  return [
    {
      name: 'tidings_publish_to_write_seconds',
      help: 'From being stored to being written to a session.',
      of: [
        [{ source: 'live' }, liveDelays],
        [{ source: 'log' }, logDelays],
      ],
    },
    {
      name: 'tidings_publish_to_ack_seconds',
      help: 'From being stored to being acknowledged by a device, of the newest message that is acknowledged.',
      of: [[{}, ackDelays]],
    },
    {
      name: 'tidings_scheduled_delay_seconds',
      help: 'How late messages were stored that were to be sent later.',
      of: [[{}, scheduler.lateness]],
    },
    {
      name: 'tidings_store_round_trip_seconds',
      help: 'What calls of the store took, of a hundred each second at the most.',
      of: STORE_KINDS.map((kind) => [{ kind }, settings.broker.times[kind]]),
    },
  ];
}
