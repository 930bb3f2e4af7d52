/** The shapes that the admin API takes and gives, as JSON Schema 2020-12: what OpenAPI 3.1 has under `components`. */

export type Schema = Record<string, unknown> | boolean;

const text = (description?: string): Schema => ({ type: 'string', ...(description && { description }) });
const count: Schema = { type: 'integer', minimum: 0 };
const time: Schema = { type: 'integer', description: 'Milliseconds since 1970.' };
const yes: Schema = { type: 'boolean' };
const anything: Schema = { description: 'Any JSON value.' };
/** What was not given is left out; more may come with later versions. */
const object = (properties: Record<string, Schema>, ...optional: string[]): Schema => ({
  type: 'object',
  properties,
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
});
const list = (items: Schema, most?: number): Schema => ({
  type: 'array',
  items,
  ...(most !== undefined && { maxItems: most }),
});
/** What is taken: a misspelled name is refused. */
const record = (properties: Record<string, Schema>, ...optional: string[]): Schema => ({
  ...(object(properties, ...optional) as object),
  additionalProperties: false,
});

export const ref = (name: keyof typeof schemas): Schema => ({ $ref: `#/components/schemas/${name}` });

export const moment: Schema = {
  description: 'Milliseconds since 1970, or a time such as 2026-12-24T18:00:00Z.',
  anyOf: [{ type: 'integer' }, { type: 'string' }],
};

const position = { epoch: text(), offset: count, id: text() };

export const schemas = {
  Error: object({
    error: text('A code, such as `bad_request`.'),
    message: text('What is wrong, for people.'),
  }),
  Position: object(position),
  Receipt: object({
    channel: text('`user:` and the name for an inbox, otherwise the topic.'),
    ...position,
    duplicate: {
      type: 'boolean',
      description: 'This idempotency key was stored before: the rest is of then.',
    },
  }),
  Scheduled: object(
    {
      scheduled: text('Its id, for `DELETE /api/scheduled/{id}`.'),
      at: time,
      duplicate: { const: true },
    },
    'duplicate',
  ),
  Transient: object({
    stored: { const: false, description: 'It was handed to whoever is here now; nothing is kept.' },
  }),
  Many: record(
    {
      users: list(text(), 10_000),
      data: anything,
      at: moment,
      ttl: { type: 'integer', minimum: 1, description: 'Milliseconds.' },
      replaces: { type: 'string', minLength: 1, maxLength: 256 },
      idempotencyKey: { type: 'string', maxLength: 256 },
    },
    'at',
    'ttl',
    'replaces',
    'idempotencyKey',
  ),
  ManySent: object({
    sent: count,
    failed: count,
    results: list({
      description: 'A receipt, or what it is scheduled as, or an error; in the order of the users.',
      type: 'object',
      properties: { user: true },
      required: ['user'],
      anyOf: [
        { $ref: '#/components/schemas/Receipt' },
        { $ref: '#/components/schemas/Scheduled' },
        { $ref: '#/components/schemas/Error' },
      ],
    }),
  }),
  ScheduledMessage: object(
    {
      id: text(),
      user: text(),
      topic: text(),
      at: time,
      retry: time,
      data: { description: 'Any JSON value; bytes as `{"encoding": "base64", "data": …}`.' },
      reference: text(),
      idempotencyKey: text(),
      ttl: count,
      replaces: text(),
      failed: text('Why it could never be stored.'),
      failedAt: time,
    },
    ...['user', 'topic', 'retry', 'data', 'reference', 'idempotencyKey', 'ttl', 'replaces'],
    ...['failed', 'failedAt'],
  ),
  ScheduledPage: object(
    {
      count,
      messages: list({ $ref: '#/components/schemas/ScheduledMessage' }),
      before: text('To ask with for more. Left out: there are no more.'),
    },
    'before',
  ),
  Cancelled: object({ cancelled: yes }),
  Withdrawn: object({ withdrawn: yes }),
  Counts: object({ unseen: count, unread: count, all: count }),
  InboxMessage: object(
    {
      ...position,
      time,
      data: anything,
      encoding: { const: 'base64', description: 'The data is bytes.' },
      reference: text('The key of a message by reference.'),
      unresolved: { const: true },
      expires: time,
      state: { enum: ['unseen', 'seen', 'read'] },
      archived: { const: true },
    },
    ...['encoding', 'reference', 'unresolved', 'expires', 'archived'],
  ),
  InboxPage: object(
    {
      messages: list({ $ref: '#/components/schemas/InboxMessage' }),
      before: { $ref: '#/components/schemas/Position' },
      counts: { $ref: '#/components/schemas/Counts' },
    },
    'before',
  ),
  Mark: record(
    {
      as: { enum: ['seen', 'read', 'unread', 'archived', 'unarchived', 'deleted'] },
      messages: list({ $ref: '#/components/schemas/Position' }, 1_000),
      upTo: { $ref: '#/components/schemas/Position' },
      ids: list(text(), 1_000),
    },
    ...['messages', 'upTo', 'ids'],
  ),
  Marked: object({ changed: count, counts: { $ref: '#/components/schemas/Counts' } }),
  Session: object({ session: text(), instance: text(), user: text(), device: text(), since: time }, 'device'),
  Sessions: list({ $ref: '#/components/schemas/Session' }),
  Ended: object({ ended: count }),
  Users: record({ users: list(text(), 10_000) }),
  Online: object({ online: list(text()) }),
  Rechecked: object({ sessions: count, ended: count, unanswered: count }),
  BlockSettings: record({ until: moment, reason: { type: 'string' } }, 'until', 'reason'),
  RevokeSettings: record({ until: moment }, 'until'),
  Block: object({ user: text(), login: text(), until: time, reason: text() }, 'user', 'login', 'until'),
  Blocks: list({ $ref: '#/components/schemas/Block' }),
  Lifted: object({ lifted: yes }),
  Subscribed: object({ subscribed: count }),
  Unsubscribed: object({ unsubscribed: count }),
  Attendance: object({
    users: list(object({ user: text(), sessions: count })),
    total: count,
    sessions: count,
  }),
  Stats: object({
    instance: text(),
    sessions: count,
    channels: count,
    published: count,
    opened: count,
    storeAway: yes,
    storeFaults: count,
    draining: yes,
  }),
  ChannelInfo: object(
    {
      position: { $ref: '#/components/schemas/Position' },
      first: { type: 'integer', minimum: 0, description: 'The offset of the oldest message that is kept.' },
      messages: {
        type: 'integer',
        minimum: 0,
        description: 'How many are kept, without those that are gone.',
      },
      devices: list(object({ device: text(), offset: count, behind: count })),
    },
    'devices',
  ),
  User: object(
    {
      user: text(),
      sessions: { $ref: '#/components/schemas/Sessions' },
      counts: { $ref: '#/components/schemas/Counts' },
      inbox: { $ref: '#/components/schemas/ChannelInfo' },
      block: { $ref: '#/components/schemas/Block' },
    },
    'block',
  ),
  Topic: {
    allOf: [{ $ref: '#/components/schemas/ChannelInfo' }, object({ topic: text() })],
  },
  Pending: object({
    count,
    messages: list(object({ ...position, time, data: anything, encoding: { const: 'base64' } }, 'encoding')),
  }),
  Instance: object(
    {
      instance: text(),
      version: text(),
      time,
      started: time,
      ready: yes,
      reason: { enum: ['starting', 'draining', 'store-away'] },
      sessions: count,
      channels: count,
      published: count,
      opened: count,
      storeAway: yes,
      storeFaults: count,
      draining: yes,
      slowSessions: count,
      outboxBytes: count,
      receivedFrames: count,
      sentFrames: count,
      receivedBytes: count,
      sentBytes: count,
      deliveries: count,
      refusals: { type: 'object', additionalProperties: count, description: 'By reason, since the start.' },
      cpuSeconds: { type: 'number', minimum: 0 },
      memoryBytes: count,
      loopDelay: { type: 'number', minimum: 0, description: 'Milliseconds, 99th percentile.' },
    },
    'reason',
  ),
  Instances: list({ $ref: '#/components/schemas/Instance' }),
  FrameEvent: object(
    {
      event: { enum: ['following', 'there', 'opened', 'sent', 'received', 'closed', 'dropped', 'alive'] },
      data: { type: 'boolean', description: 'Of `following`: whether data is shown.' },
      time,
      instance: text(),
      session: text(),
      mode: { enum: ['tidings.1', 'plain'] },
      since: time,
      address: text(),
      device: text(),
      bytes: { type: 'integer', minimum: 0, description: 'Of the whole frame.' },
      text: text('The frame, without tickets, and without data where that is hidden.'),
      cut: { const: true, description: 'It was longer.' },
      binary: { const: true },
      code: { type: 'integer' },
      reason: text(),
      count,
    },
    ...[
      'data',
      'time',
      'instance',
      'session',
      'mode',
      'since',
      'address',
      'device',
      'bytes',
      'text',
      'cut',
      'binary',
    ],
    ...['code', 'reason', 'count'],
  ),
  Live: object({ ok: { const: true } }),
  Ready: object(
    {
      ok: yes,
      instance: text(),
      reason: { enum: ['starting', 'draining', 'store-away'] },
      storeAwayFor: { type: 'integer', minimum: 0, description: 'Milliseconds.' },
    },
    'reason',
    'storeAwayFor',
  ),
  Health: object({
    ok: yes,
    instance: text(),
    sessions: count,
    storeAway: yes,
    storeFaults: count,
    draining: yes,
  }),
} satisfies Record<string, Schema>;
