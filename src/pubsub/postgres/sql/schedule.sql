-- Messages that are sent later (store/schedule.ts). Every step locks the one row of tidings.schedule first, so that they are
-- made one after another; what is large is read by statements that lock nothing.

CREATE TABLE tidings.schedule (
  is_one boolean PRIMARY KEY DEFAULT true CHECK (is_one),
  -- Who is handed out messages, and until when.
  holder text NOT NULL DEFAULT '',
  lease_end bigint NOT NULL DEFAULT 0,
  -- Of tidings.scheduled.
  count bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);
INSERT INTO tidings.schedule DEFAULT VALUES;

CREATE TABLE tidings.scheduled (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text COLLATE "C" NOT NULL UNIQUE,
  -- Of the call that has added it.
  token text NOT NULL,
  channel text COLLATE "C" NOT NULL,
  -- As JSON: its kind, and how it is to be stored.
  settings text NOT NULL,
  payload bytea NOT NULL,
  at bigint NOT NULL,
  -- When it is handed out: `at`, or later where its channel is held.
  due bigint NOT NULL,
  -- Handed out under the lease, and nobody has said yet what became of it.
  is_taken boolean NOT NULL DEFAULT false,
  -- It may have been stored: it can't be cancelled any more.
  is_tried boolean NOT NULL DEFAULT false
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX scheduled_due ON tidings.scheduled (due, at, number) WHERE NOT is_taken;
CREATE INDEX scheduled_channel ON tidings.scheduled (channel, due, at, number) WHERE NOT is_taken;
CREATE INDEX scheduled_taken ON tidings.scheduled (number) WHERE is_taken;

-- Channels that could not be written to: nothing of them is handed out until then.
CREATE TABLE tidings.schedule_hold (
  channel text COLLATE "C" PRIMARY KEY,
  until bigint NOT NULL,
  tries integer NOT NULL
);

-- What could never be stored, as JSON.
CREATE TABLE tidings.schedule_failed (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  failure text NOT NULL
);

-- Keeps messages, and rings where one is due before all others. Returns for each when the one with its id is due, and whether
-- another call has added that; NULL where there are too many. `p_most` 0: there are never.
CREATE FUNCTION tidings.schedule_add(
  p_bell text, p_most bigint, p_ids text[], p_tokens text[], p_channels text[], p_settings text[], p_payloads bytea[],
  p_ats bigint[], OUT ats bigint[], OUT were_there boolean[]
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_count bigint;
  v_earliest bigint;
  v_is_early boolean := false;
  v_known tidings.scheduled;
BEGIN
  ats := '{}';
  were_there := '{}';
  SELECT s.count INTO v_count FROM tidings.schedule s FOR UPDATE;
  SELECT min(due) INTO v_earliest FROM tidings.scheduled WHERE NOT is_taken;
  FOR i IN 1 .. cardinality(p_ids) LOOP
    SELECT * INTO v_known FROM tidings.scheduled WHERE id = p_ids[i];
    IF FOUND THEN
      ats := ats || v_known.at;
      were_there := were_there || (v_known.token <> p_tokens[i]);
    ELSIF p_most > 0 AND v_count >= p_most THEN
      ats := ats || NULL::bigint;
      were_there := were_there || false;
    ELSE
      INSERT INTO tidings.scheduled (id, token, channel, settings, payload, at, due)
      VALUES (p_ids[i], p_tokens[i], p_channels[i], p_settings[i], p_payloads[i], p_ats[i], p_ats[i]);
      v_count := v_count + 1;
      ats := ats || p_ats[i];
      were_there := were_there || false;
      IF v_earliest IS NULL OR p_ats[i] < v_earliest THEN
        v_earliest := p_ats[i];
        v_is_early := true;
      END IF;
    END IF;
  END LOOP;
  UPDATE tidings.schedule SET count = v_count;
  IF v_is_early THEN
    PERFORM tidings.notify(p_bell, '');
  END IF;
END
$$;

-- Whether it was taken out: not one that is being sent, or may have been.
CREATE FUNCTION tidings.schedule_cancel(p_id text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM FROM tidings.schedule FOR UPDATE;
  DELETE FROM tidings.scheduled WHERE id = p_id AND NOT is_taken AND NOT is_tried;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  UPDATE tidings.schedule SET count = count - 1;
  RETURN true;
END
$$;

-- Hands out what is due, by this clock and that of who asks, to the one that has the lease; and renews it.
--
-- p_me      who asks, a point, and a number, which is another one whenever he may not know what he was given
-- state     `none`: nothing is scheduled at all, and the lease is nobody's. `other`: another one has it. `held`
-- moment    by this clock; with `other`, the milliseconds that his lease lasts
-- next      when the next one is due
-- numbers   of those that are handed out, in their order
CREATE FUNCTION tidings.schedule_take(
  p_me text, p_now bigint, p_lease bigint, p_most integer, p_bytes bigint,
  OUT state text, OUT moment bigint, OUT next bigint, OUT numbers bigint[]
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  s tidings.schedule;
  v_item record;
  v_bytes bigint := 0;
BEGIN
  SELECT * INTO s FROM tidings.schedule FOR UPDATE;
  moment := tidings.clock();
  -- One that lasts longer than any: the clock was set back.
  IF split_part(s.holder, '.', 1) <> split_part(p_me, '.', 1)
    AND s.lease_end > moment AND s.lease_end <= moment + 2 * p_lease
  THEN
    state := 'other';
    moment := s.lease_end - moment;
    RETURN;
  END IF;
  IF s.holder <> p_me OR s.lease_end <= moment THEN
    -- What was handed out before may have been stored.
    UPDATE tidings.scheduled SET is_taken = false, is_tried = true, due = at WHERE is_taken;
  END IF;
  IF s.count = 0 THEN
    IF s.holder <> '' THEN
      DELETE FROM tidings.schedule_hold;
      UPDATE tidings.schedule SET holder = '', lease_end = 0;
    END IF;
    state := 'none';
    RETURN;
  END IF;
  state := 'held';
  numbers := '{}';
  UPDATE tidings.schedule SET holder = p_me, lease_end = moment + p_lease;
  -- What is due in a channel that is held is put off, also where that time is over by now: what it was for stands at its
  -- end, and is not to be overtaken. One that lasts longer than any: the clock was set back.
  UPDATE tidings.scheduled item SET due = hold.until FROM (
    SELECT number FROM tidings.scheduled
    WHERE NOT is_taken AND due <= least(moment, p_now) ORDER BY due, at, number LIMIT 1000
  ) looked, tidings.schedule_hold hold
  WHERE item.number = looked.number AND hold.channel = item.channel AND hold.until > item.due AND hold.until <= moment + 600000;
  FOR v_item IN
    SELECT item.number, item.size, hold.until FROM (
      SELECT number, channel, due, at, octet_length(payload) AS size FROM tidings.scheduled
      WHERE NOT is_taken AND due <= least(moment, p_now) ORDER BY due, at, number LIMIT 1000
    ) item
    LEFT JOIN tidings.schedule_hold hold
      ON hold.channel = item.channel AND hold.until > item.due AND hold.until <= moment + 600000
    ORDER BY item.due, item.at, item.number
  LOOP
    -- One to be put off that was not among the first: the next call goes on.
    EXIT WHEN v_item.until IS NOT NULL OR cardinality(numbers) >= p_most OR v_bytes >= p_bytes;
    numbers := numbers || v_item.number;
    v_bytes := v_bytes + v_item.size;
  END LOOP;
  UPDATE tidings.scheduled SET is_taken = true WHERE number = ANY (numbers);
  DELETE FROM tidings.schedule_hold hold WHERE tries = 0 AND until <= moment AND NOT EXISTS (
    SELECT FROM tidings.scheduled item WHERE item.channel = hold.channel AND item.due <= hold.until
  );
  SELECT min(due) INTO next FROM tidings.scheduled WHERE NOT is_taken;
END
$$;

-- Until when nothing of a channel is handed out: twice as long each time.
CREATE FUNCTION tidings.schedule_put_off(p_channel text, p_milliseconds bigint, p_now bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  h tidings.schedule_hold;
BEGIN
  SELECT * INTO h FROM tidings.schedule_hold WHERE channel = p_channel;
  IF h.until > p_now AND h.until <= p_now + 600000 THEN
    RETURN h.until;
  END IF;
  h.tries := least(coalesce(h.tries, 0), 16);
  h.until := p_now + least(p_milliseconds * (1 << h.tries), 60000);
  INSERT INTO tidings.schedule_hold VALUES (p_channel, h.until, h.tries + 1)
  ON CONFLICT (channel) DO UPDATE SET until = excluded.until, tries = excluded.tries;
  RETURN h.until;
END
$$;

-- Says what became of messages that were handed out, one after another: `stored`, `failed` with what to list, `held` or
-- `unknown` with the milliseconds for which nothing of the channel is handed out, `back`. Those that go back do so only if he
-- has the lease: otherwise they were taken from him.
CREATE FUNCTION tidings.schedule_settle(
  p_me text, p_most_failed integer, p_is_last boolean,
  p_whats text[], p_ids text[], p_milliseconds bigint[], p_failures text[]
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  s tidings.schedule;
  v_now bigint;
  v_is_mine boolean;
  v_item tidings.scheduled;
BEGIN
  SELECT * INTO s FROM tidings.schedule FOR UPDATE;
  v_now := tidings.clock();
  v_is_mine := s.holder = p_me AND s.lease_end > v_now;
  FOR i IN 1 .. cardinality(p_ids) LOOP
    SELECT * INTO v_item FROM tidings.scheduled WHERE id = p_ids[i];
    CONTINUE WHEN NOT FOUND;
    IF p_whats[i] IN ('stored', 'failed') THEN
      UPDATE tidings.schedule_hold SET tries = 0 WHERE channel = v_item.channel AND tries > 0;
      DELETE FROM tidings.scheduled WHERE number = v_item.number;
      s.count := s.count - 1;
      IF p_whats[i] = 'failed' THEN
        INSERT INTO tidings.schedule_failed (failure) VALUES (p_failures[i]);
      END IF;
    ELSIF v_is_mine AND v_item.is_taken THEN
      UPDATE tidings.scheduled SET
        is_taken = false,
        is_tried = v_item.is_tried OR p_whats[i] = 'unknown',
        due = CASE p_whats[i]
          WHEN 'back' THEN v_item.at ELSE tidings.schedule_put_off(v_item.channel, p_milliseconds[i], v_now)
        END
      WHERE number = v_item.number;
    END IF;
  END LOOP;
  IF 'failed' = ANY (p_whats) THEN
    DELETE FROM tidings.schedule_failed WHERE number <= (
      SELECT number FROM tidings.schedule_failed ORDER BY number DESC OFFSET p_most_failed LIMIT 1
    );
  END IF;
  IF v_is_mine AND p_is_last THEN
    s.holder := '';
    s.lease_end := 0;
  END IF;
  UPDATE tidings.schedule SET holder = s.holder, lease_end = s.lease_end, count = s.count;
END
$$;

-- A page of what is scheduled, the latest first, without what is being sent: of one channel, or with NULL of all; before a
-- place. At least one row, which has `count` and `has_more`; where nothing is listed, its other columns are NULL.
CREATE FUNCTION tidings.schedule_list(
  p_channel text, p_due bigint, p_at bigint, p_number bigint, p_most integer, p_bytes bigint
) RETURNS TABLE (
  count bigint, has_more boolean,
  id text, channel text, settings text, payload bytea, at bigint, due bigint, number bigint
) LANGUAGE sql STABLE AS $$
  WITH found AS MATERIALIZED (
    (
      SELECT i.number, i.due, i.at, octet_length(i.payload) AS size FROM tidings.scheduled i
      WHERE p_channel IS NULL AND NOT i.is_taken AND (i.due, i.at, i.number) < (p_due, p_at, p_number)
      ORDER BY i.due DESC, i.at DESC, i.number DESC LIMIT p_most + 1
    ) UNION ALL (
      SELECT i.number, i.due, i.at, octet_length(i.payload) FROM tidings.scheduled i
      WHERE i.channel = p_channel AND NOT i.is_taken AND (i.due, i.at, i.number) < (p_due, p_at, p_number)
      ORDER BY i.due DESC, i.at DESC, i.number DESC LIMIT p_most + 1
    )
  ), listed AS MATERIALIZED (
    SELECT c.number, c.place FROM (
      SELECT f.number, row_number() OVER latest AS place, sum(f.size) OVER latest - f.size AS bytes_before
      FROM found f WINDOW latest AS (ORDER BY f.due DESC, f.at DESC, f.number DESC)
    ) c WHERE c.place <= p_most AND c.bytes_before < p_bytes
  )
  SELECT s.count, (SELECT count(*) FROM found) > (SELECT count(*) FROM listed),
    i.id, i.channel, i.settings, i.payload, i.at, i.due, i.number
  FROM tidings.schedule s LEFT JOIN (listed l JOIN tidings.scheduled i ON i.number = l.number) ON true
  ORDER BY l.place
$$;
