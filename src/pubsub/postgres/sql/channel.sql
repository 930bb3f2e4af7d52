-- The logs. Whoever writes to a channel locks its row first: so offsets are contiguous, and in the order of commits.

CREATE TABLE tidings.channel (
  key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE,
  epoch text NOT NULL,
  -- Offset and id of the newest message, and when it was stored; 0 and '' in a channel that has lost everything.
  number bigint NOT NULL DEFAULT 0,
  id text NOT NULL DEFAULT '',
  time bigint NOT NULL DEFAULT 0,
  -- Nothing below is kept: number + 1 where nothing is.
  first bigint NOT NULL DEFAULT 1,
  -- Nothing that is kept was stored before.
  head bigint NOT NULL DEFAULT 0,
  -- Milliseconds that messages are kept, and how many of them.
  max_age bigint NOT NULL DEFAULT 0,
  max_messages bigint NOT NULL DEFAULT 4294967295,
  -- Of the newest message.
  until bigint NOT NULL DEFAULT 0,
  -- Milliseconds that this row outlives its last use, and when that was, about.
  keep bigint NOT NULL,
  used bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE tidings.message (
  channel bigint NOT NULL,
  number bigint NOT NULL,
  id text NOT NULL,
  time bigint NOT NULL,
  -- t text, j JSON, b bytes, r reference, g gone: of that nothing is kept but its place.
  kind "char" NOT NULL,
  payload bytea NOT NULL,
  expires bigint,
  replaces text,
  trace text,
  -- Until then it is kept at least. It never falls from one message of a channel to the next, so what goes with a
  -- partition is the beginning of a log.
  until bigint NOT NULL,
  -- It has to be kept longer than what else is in its partition: until then.
  hold bigint,
  -- Without a key, no row could be changed where all tables of the database are published.
  PRIMARY KEY (channel, number, until)
) PARTITION BY RANGE (until);
CREATE INDEX message_hold ON tidings.message (hold) WHERE hold IS NOT NULL;
CREATE INDEX message_expires ON tidings.message (channel, expires) WHERE expires IS NOT NULL;
CREATE INDEX message_replaces ON tidings.message (channel, replaces, number) WHERE replaces IS NOT NULL;

-- Of a life: eight characters by chance, the store's origin, eleven hexadecimal digits (epochs.ts). `p_since` NULL: it begins
-- after a loss.
CREATE FUNCTION tidings.new_epoch(p_since bigint) RETURNS text LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
  RETURN (SELECT tidings.random_id(6) || origin || CASE WHEN p_since IS NULL THEN 'fffffffffff' ELSE lpad(to_hex(greatest(p_since, 0)), 11, '0') END
  FROM tidings.store);
END
$$;

-- The epoch of a channel that nothing is kept of.
CREATE FUNCTION tidings.unused(p_idle bigint) RETURNS text LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  t bigint := tidings.clock();
BEGIN
  RETURN (SELECT '.' || origin || lpad(to_hex(greatest(t - p_idle, 0)), 11, '0') || lpad(to_hex(t), 11, '0') FROM tidings.store);
END
$$;

-- Whether a channel that nothing is kept of has lost something. `p_known`: '<epoch> <offset> <id>' of a message that is known
-- to have been there, or ''. Of another store, nobody can find the channel unused and be deceived.
CREATE FUNCTION tidings.has_lost(p_known text) RETURNS boolean LANGUAGE plpgsql STABLE
AS $$
BEGIN
  RETURN p_known <> '' AND substr(p_known, 9, 4) = (SELECT origin FROM tidings.store);
END
$$;

-- Whether a log has lost a message that it is known to have had. The numbers alone would count again and be taken for the
-- same messages, so it gets another epoch: everybody who stands in the old one is told.
CREATE FUNCTION tidings.has_rewound(p_epoch text, p_number bigint, p_id text, p_known text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
  SELECT p_known <> '' AND split_part(p_known, ' ', 1) = p_epoch AND nullif(split_part(p_known, ' ', 2), '')::bigint >= p_number
    AND NOT (nullif(split_part(p_known, ' ', 2), '')::bigint = p_number AND split_part(p_known, ' ', 3) = p_id)
$$;

-- Where the log begins by now: what is too old is not kept, nor what is not there.
CREATE FUNCTION tidings.aged(p_channel tidings.channel, p_now bigint) RETURNS tidings.channel LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  c tidings.channel := p_channel;
  v_low bigint := c.first;
  v_high bigint := c.number + 1;
  v_middle bigint;
  v_time bigint;
  v_head bigint := p_now;
BEGIN
  WHILE v_low < v_high LOOP
    v_middle := (v_low + v_high) / 2;
    SELECT m.time INTO v_time FROM tidings.message m WHERE m.channel = c.key AND m.number = v_middle;
    IF v_time > p_now - c.max_age THEN
      v_high := v_middle;
      v_head := v_time;
    ELSE
      v_low := v_middle + 1;
    END IF;
  END LOOP;
  c.first := v_low;
  c.head := v_head;
  RETURN c;
END
$$;

-- Locks a channel and puts it right first: where it has rewound, keeps what is too old, or was not used for long. Nothing is
-- created for a channel that was never used: its `key` is NULL. `p_patience`: how long it waits for who has locked it.
CREATE FUNCTION tidings.look(p_name text, p_known text, p_idle bigint, p_patience text) RETURNS tidings.channel
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  c tidings.channel;
  v_now bigint := tidings.clock();
  v_is_changed boolean := false;
BEGIN
  PERFORM set_config('lock_timeout', p_patience, true);
  SELECT * INTO c FROM tidings.channel WHERE name = p_name FOR UPDATE;
  IF c.key IS NULL THEN
    IF NOT tidings.has_lost(p_known) THEN
      RETURN NULL;
    END IF;
    INSERT INTO tidings.channel (name, epoch, head, keep, used) VALUES (p_name, tidings.new_epoch(NULL), v_now, p_idle, v_now)
    ON CONFLICT (name) DO NOTHING;
    SELECT * INTO c FROM tidings.channel WHERE name = p_name FOR UPDATE;
  END IF;
  IF tidings.has_rewound(c.epoch, c.number, c.id, p_known) THEN
    c.epoch := tidings.new_epoch(NULL);
    v_is_changed := true;
  END IF;
  IF c.first <= c.number AND (c.head <= v_now - c.max_age
    OR NOT EXISTS (SELECT FROM tidings.message m WHERE m.channel = c.key AND m.number = c.first))
  THEN
    c := tidings.aged(c, v_now);
    v_is_changed := true;
  END IF;
  IF v_now >= c.used + c.keep / 4 THEN
    c.used := v_now;
    v_is_changed := true;
  END IF;
  IF v_is_changed THEN
    UPDATE tidings.channel SET epoch = c.epoch, first = c.first, head = c.head, used = c.used WHERE key = c.key;
  END IF;
  RETURN c;
END
$$;
