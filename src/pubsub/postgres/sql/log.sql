-- Storing and reading messages (postgres-writer.ts, postgres-reader.ts).

-- What idempotency keys were stored, by the time until which they are remembered.
CREATE TABLE tidings.receipt (
  channel bigint NOT NULL,
  once text NOT NULL,
  epoch text NOT NULL,
  number bigint NOT NULL,
  id text NOT NULL,
  expires bigint NOT NULL,
  until bigint NOT NULL,
  -- As that of a message.
  hold bigint,
  PRIMARY KEY (channel, once, expires, until)
) PARTITION BY RANGE (until);
CREATE INDEX receipt_hold ON tidings.receipt (hold) WHERE hold IS NOT NULL;

-- Writes down where a channel stands; its row is locked.
CREATE FUNCTION tidings.save(c tidings.channel) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
  UPDATE tidings.channel AS t SET epoch = c.epoch, number = c.number, id = c.id, time = c.time, first = c.first, head = c.head,
    max_age = c.max_age, max_messages = c.max_messages, until = c.until, keep = c.keep, used = c.used
  WHERE t.key = c.key;
END
$$;

-- Makes a channel, which is locked then. NULL where somebody else has made it.
CREATE FUNCTION tidings.made(p_name text, p_known text, p_idle bigint) RETURNS tidings.channel LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  c tidings.channel;
  v_now bigint := tidings.clock();
BEGIN
  INSERT INTO tidings.channel (name, epoch, head, keep, used)
  VALUES (p_name, tidings.new_epoch(CASE WHEN NOT tidings.has_lost(p_known) THEN v_now - p_idle END), v_now, p_idle, v_now)
  ON CONFLICT (name) DO NOTHING RETURNING * INTO c;
  RETURN c;
END
$$;

-- Locks a channel to append to it; it is made if it is not there. Without `p_waits`, NULL if somebody else has locked it, or
-- has made it and has not committed yet.
CREATE FUNCTION tidings.obtain(p_name text, p_known text, p_idle bigint, p_waits boolean) RETURNS tidings.channel
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  c tidings.channel;
  v_now bigint := tidings.clock();
  v_patience text := current_setting('lock_timeout');
BEGIN
  FOR i IN 1 .. 100 LOOP
    IF p_waits THEN
      SELECT * INTO c FROM tidings.channel WHERE name = p_name FOR UPDATE;
    ELSE
      SELECT * INTO c FROM tidings.channel WHERE name = p_name FOR UPDATE SKIP LOCKED;
    END IF;
    IF c.key IS NOT NULL THEN
      IF tidings.has_rewound(c.epoch, c.number, c.id, p_known) THEN
        c.epoch := tidings.new_epoch(NULL);
      END IF;
      c.keep := greatest(c.keep, p_idle);
      c.used := v_now;
      RETURN c;
    END IF;
    IF NOT p_waits AND EXISTS (SELECT FROM tidings.channel WHERE name = p_name) THEN
      RETURN NULL;
    END IF;
    IF p_waits THEN
      c := tidings.made(p_name, p_known, p_idle);
    ELSE
      -- Where somebody else has made it and has not committed yet, nobody can see it without waiting for him.
      BEGIN
        PERFORM set_config('lock_timeout', '20ms', true);
        c := tidings.made(p_name, p_known, p_idle);
        PERFORM set_config('lock_timeout', v_patience, true);
      EXCEPTION WHEN lock_not_available THEN
        RETURN NULL;
      END;
    END IF;
    IF c.key IS NOT NULL THEN
      RETURN c;
    END IF;
  END LOOP;
  -- What was there is removed again and again, or this transaction can't see it.
  RAISE EXCEPTION 'the channel % can not be locked', p_name USING ERRCODE = '40001';
END
$$;

-- Appends a message to a channel that is locked, and rings. Returns the channel as it is then: `save` it.
CREATE FUNCTION tidings.append(
  p_channel tidings.channel, p_id text, p_kind "char", p_payload bytea, p_ttl bigint, p_replaces text, p_trace text, p_version text
) RETURNS tidings.channel LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  c tidings.channel := p_channel;
  v_first bigint := c.first;
  v_chunk bigint := greatest(1, c.max_messages / 8);
  v_expires bigint;
  v_until bigint;
  v_former bigint;
  v_line text;
  v_bell text;
BEGIN
  IF p_replaces IS NOT NULL THEN
    SELECT m.number INTO v_former FROM tidings.message m
    WHERE m.channel = c.key AND m.replaces = p_replaces AND m.number >= c.first ORDER BY m.number DESC LIMIT 1;
  END IF;
  c.number := c.number + 1;
  c.id := p_id;
  -- A clock that steps back must not make a younger message look older than its elders.
  c.time := greatest(c.time, tidings.clock());
  v_until := greatest(c.until, c.time + c.max_age);
  c.until := tidings.placed('message', v_until);
  c.keep := greatest(c.keep, c.max_age);
  IF c.first = c.number THEN
    c.head := c.time;
  END IF;
  -- As expiryOf of marks.ts.
  v_expires := CASE WHEN p_ttl < 140737488355328 THEN least(c.time + p_ttl, 140737488355328) ELSE 140737488355328 END;
  IF p_ttl IS NULL THEN
    v_expires := NULL;
  END IF;
  INSERT INTO tidings.message (channel, number, id, time, kind, payload, expires, replaces, trace, until, hold)
  VALUES (c.key, c.number, p_id, c.time, p_kind, p_payload, v_expires, p_replaces, p_trace, c.until,
    CASE WHEN v_until > c.until THEN v_until END);

  -- What is too many goes a chunk at a time.
  c.first := greatest(c.first, c.number - c.max_messages + 1);
  IF c.first / v_chunk <> v_first / v_chunk THEN
    DELETE FROM tidings.message m
    WHERE m.channel = c.key AND m.number < c.first AND m.number >= greatest(v_first - 2 * v_chunk, c.first - 2 * v_chunk - 1000);
  END IF;

  v_line := tidings.escaped(c.name) || E'\n' || c.epoch || ' ' || c.number || ' ' || p_id;
  IF octet_length(p_payload) < 5900 THEN
    v_bell := 'm ' || v_line || ' ' || c.time || ' ' || p_kind::text || ' ' || coalesce(v_expires::text, '-') || ' ' || coalesce(p_trace, '-')
      || ' ' || translate(encode(p_payload, 'base64'), E'\n', '');
  END IF;
  PERFORM tidings.ring(CASE WHEN octet_length(v_bell) <= 7900 THEN v_bell ELSE 'M ' || v_line END);

  IF v_former >= c.first THEN
    PERFORM tidings.save(c);
    PERFORM tidings.gone(c, ARRAY[v_former], p_version);
  END IF;
  RETURN c;
END
$$;

-- What an idempotency key has stored before, if it is remembered.
CREATE FUNCTION tidings.receipt_of(p_channel bigint, p_once text) RETURNS tidings.receipt LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  v_receipt tidings.receipt;
BEGIN
  SELECT * INTO v_receipt FROM tidings.receipt r
  WHERE r.channel = p_channel AND r.once = p_once AND r.expires > tidings.clock() ORDER BY r.expires DESC LIMIT 1;
  RETURN v_receipt;
END
$$;

CREATE FUNCTION tidings.remember(c tidings.channel, p_once text, p_window bigint) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  v_expires bigint := tidings.clock() + p_window;
  v_until bigint := tidings.placed('receipt', v_expires);
BEGIN
  INSERT INTO tidings.receipt (channel, once, epoch, number, id, expires, until, hold)
  VALUES (c.key, p_once, c.epoch, c.number, c.id, v_expires, v_until, CASE WHEN v_expires > v_until THEN v_expires END);
END
$$;

-- Stores messages of any number of channels, in the order of each, and rings for them. `p_kinds`: NULL for what is only handed
-- on. `p_bytes` has all payloads, one behind the other. With `p_waits` it waits for channels that others have locked.
-- Returns for each message, by its place: where it was stored, the receipt of the first time, or NULLs where the channel is
-- locked, or more is pending for it than is appended in one step.
CREATE FUNCTION tidings.publish(
  p_names text[], p_ids text[], p_kinds text[], p_sizes int[], p_bytes bytea, p_ttls bigint[], p_replaces text[], p_traces text[],
  p_keys text[], p_windows bigint[], p_ages bigint[], p_mosts bigint[], p_knowns text[], p_versions text[], p_idle bigint,
  p_waits boolean
) RETURNS TABLE (r_place int, r_epoch text, r_number bigint, r_id text) LANGUAGE plpgsql VOLATILE
SET lock_timeout = '2s'
AS $$
DECLARE
  c tidings.channel;
  v_receipt tidings.receipt;
  v_name text;
  v_places int[];
  v_starts int[];
  v_at int := 1;
  v_is_busy boolean;
  i int;
BEGIN
  FOR i IN 1 .. cardinality(p_sizes) LOOP
    v_starts[i] := v_at;
    v_at := v_at + p_sizes[i];
  END LOOP;
  -- In one order, whoever comes: so nobody waits for somebody who waits.
  FOR v_name, v_places IN
    SELECT n, array_agg(o::int ORDER BY o) FROM unnest(p_names) WITH ORDINALITY AS given (n, o) GROUP BY n ORDER BY n COLLATE "C"
  LOOP
    c := NULL;
    v_is_busy := false;
    FOREACH i IN ARRAY v_places LOOP
      r_place := i;
      r_epoch := NULL;
      r_number := NULL;
      r_id := NULL;
      IF c.key IS NULL AND NOT v_is_busy AND p_kinds[i] IS NOT NULL THEN
        c := tidings.obtain(v_name, p_knowns[i], p_idle, p_waits);
        v_is_busy := c.key IS NULL;
        IF NOT v_is_busy AND EXISTS (SELECT FROM tidings.pending p WHERE p.channel = v_name) THEN
          c := tidings.settle(c, 1000);
          -- Nothing overtakes the rest.
          IF EXISTS (SELECT FROM tidings.pending p WHERE p.channel = v_name) THEN
            PERFORM tidings.save(c);
            c := NULL;
            v_is_busy := true;
          END IF;
        END IF;
      END IF;
      IF v_is_busy THEN
        RETURN NEXT;
        CONTINUE;
      END IF;
      IF p_kinds[i] IS NULL THEN
        PERFORM tidings.notify(v_name, substr(p_bytes, v_starts[i], p_sizes[i]));
        r_number := 0;
        RETURN NEXT;
        CONTINUE;
      END IF;
      IF p_keys[i] IS NOT NULL THEN
        v_receipt := tidings.receipt_of(c.key, p_keys[i]);
        IF v_receipt.once IS NOT NULL THEN
          r_epoch := v_receipt.epoch;
          r_number := v_receipt.number;
          r_id := v_receipt.id;
          RETURN NEXT;
          CONTINUE;
        END IF;
      END IF;
      c.max_age := p_ages[i];
      c.max_messages := p_mosts[i];
      c := tidings.append(c, p_ids[i], p_kinds[i]::"char", substr(p_bytes, v_starts[i], p_sizes[i]), p_ttls[i], p_replaces[i],
        p_traces[i], p_versions[i]);
      IF p_keys[i] IS NOT NULL THEN
        c.keep := greatest(c.keep, p_windows[i]);
        PERFORM tidings.remember(c, p_keys[i], p_windows[i]);
      END IF;
      r_epoch := c.epoch;
      r_number := c.number;
      r_id := c.id;
      RETURN NEXT;
    END LOOP;
    IF c.key IS NOT NULL THEN
      PERFORM tidings.save(c);
    END IF;
  END LOOP;
END
$$;

-- Whether a channel has to be put right (`look`) before it is read.
CREATE FUNCTION tidings.is_due(c tidings.channel, p_known text) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  v_now bigint := tidings.clock();
BEGIN
  RETURN tidings.has_rewound(c.epoch, c.number, c.id, p_known) OR c.first <= c.number AND c.head <= v_now - c.max_age
    OR v_now >= c.used + c.keep / 4;
END
$$;

-- A page of a log. The first row says where the channel stands: its kind is T, `stored` is now, `expires` the lowest number that is
-- kept. It alone, with the kind L, where the channel has to be looked at before. Nothing is locked, and nothing written.
CREATE FUNCTION tidings.read(p_name text, p_offset bigint, p_limit bigint, p_bytes bigint, p_known text, p_idle bigint)
RETURNS TABLE (kind "char", epoch text, number bigint, id text, stored bigint, expires bigint, trace text, payload bytea)
LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
DECLARE
  c tidings.channel;
  v_bytes bigint := 0;
BEGIN
  SELECT * INTO c FROM tidings.channel ch WHERE ch.name = p_name;
  IF c.key IS NULL AND NOT tidings.has_lost(p_known) THEN
    RETURN QUERY SELECT 'T'::"char", tidings.unused(p_idle), 0::bigint, '', tidings.clock(), 1::bigint, NULL, NULL::bytea;
    RETURN;
  END IF;
  IF c.key IS NULL OR tidings.is_due(c, p_known) THEN
    RETURN QUERY SELECT 'L'::"char", NULL, NULL::bigint, NULL, NULL::bigint, NULL::bigint, NULL, NULL::bytea;
    RETURN;
  END IF;
  RETURN QUERY SELECT 'T'::"char", c.epoch, c.number, c.id, tidings.clock(), c.first, NULL, NULL::bytea;
  IF p_limit <= 0 THEN
    RETURN;
  END IF;
  FOR kind, number, id, stored, expires, trace, payload IN
    SELECT m.kind, m.number, m.id, m.time, m.expires, m.trace, m.payload FROM tidings.message m
    WHERE m.channel = c.key AND m.number >= greatest(p_offset + 1, c.first) AND m.number <= c.number
    ORDER BY m.number LIMIT p_limit
  LOOP
    RETURN NEXT;
    v_bytes := v_bytes + octet_length(payload);
    EXIT WHEN v_bytes >= p_bytes;
  END LOOP;
END
$$;

-- For a log that has holes, which nobody of ours makes: what is before the last one counts as trimmed.
CREATE FUNCTION tidings.mend(p_name text) RETURNS void LANGUAGE sql VOLATILE
AS $$
  UPDATE tidings.channel c SET first = greatest(c.first, coalesce((
    SELECT max(m.number) FROM tidings.message m
    WHERE m.channel = c.key AND m.number BETWEEN c.first AND c.number
      AND NOT EXISTS (SELECT FROM tidings.message p WHERE p.channel = c.key AND p.number = m.number - 1)
  ), c.number + 1))
  WHERE c.name = p_name
$$;
