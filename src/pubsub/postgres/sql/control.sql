-- The control log: commands in one order, who has carried them out, who holds a lease (control-store.ts).
--
-- Whoever changes something of it locks the one row of `control` first: so there is one order, and what is read behind the
-- lock is all that came before. An answer is sent while its statement runs, so what holds the lock returns little: an instance
-- that stands still while it reads a long answer would hold up all others.

CREATE TABLE tidings.control (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  -- By chance; another one when commands may have been lost.
  epoch text NOT NULL,
  -- Number and id of the newest command.
  top bigint NOT NULL,
  id text NOT NULL,
  -- Of the database when it was written last (`control_run`), and milliseconds since 1970 when that was met.
  run text NOT NULL,
  since bigint NOT NULL,
  -- Milliseconds of the longest lease.
  longest bigint NOT NULL,
  -- No fewer than there are records: they are counted before one is refused.
  records bigint NOT NULL DEFAULT 0,
  -- Of all that is kept (versions.ts).
  layout integer
) WITH (fillfactor = 50);

CREATE TABLE tidings.control_log (
  number bigint PRIMARY KEY,
  id text COLLATE "C" NOT NULL UNIQUE,
  time bigint NOT NULL,
  -- As JSON, which is not looked at here.
  said text NOT NULL
);

CREATE TABLE tidings.control_record (
  key text COLLATE "C" PRIMARY KEY,
  -- When it was set, and until when it is: milliseconds since 1970, or infinity.
  time bigint NOT NULL,
  until double precision NOT NULL,
  value text NOT NULL
);

-- What ends with the database's run is in tables that a crash and a promotion empty: it costs no log.

CREATE UNLOGGED TABLE tidings.control_lease (
  instance text COLLATE "C" PRIMARY KEY,
  name text NOT NULL,
  -- The number of the last command that it has carried out.
  done bigint NOT NULL,
  until bigint NOT NULL
) WITH (fillfactor = 50);

-- What a command was about, as instances say; kept for a minute, and until there are a hundred more commands.
CREATE UNLOGGED TABLE tidings.control_count (
  command text COLLATE "C",
  instance text COLLATE "C",
  time bigint NOT NULL,
  count double precision NOT NULL,
  PRIMARY KEY (command, instance)
);

CREATE UNLOGGED TABLE tidings.control_run (id text NOT NULL);

-- Another text after each crash, start, promotion or restore of the database: then leases may have been forgotten.
CREATE FUNCTION tidings.control_run() RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN concat_ws(' ', (SELECT min(id || ' ' || tableoid) FROM tidings.control_run), extract(epoch FROM pg_postmaster_start_time()));
END $$;

-- The state, locked until the end of the transaction. After another run has begun, all leases that can have been given before
-- are taken to be in force, from the moment on at which that is noticed; and so from when the clock was set back.
CREATE FUNCTION tidings.control_locked() RETURNS tidings.control LANGUAGE plpgsql AS $$
DECLARE
  v_state tidings.control;
  v_run text;
BEGIN
  LOOP
    SELECT * INTO v_state FROM tidings.control FOR UPDATE;
    EXIT WHEN FOUND;
    INSERT INTO tidings.control (epoch, top, id, run, since, longest)
      VALUES (tidings.random_id(9), 0, '-', '', 0, 0) ON CONFLICT DO NOTHING;
  END LOOP;
  INSERT INTO tidings.control_run (id)
    SELECT tidings.random_id(9) WHERE NOT EXISTS (SELECT FROM tidings.control_run);
  v_run := tidings.control_run();
  IF v_state.run <> v_run OR v_state.since > tidings.clock() THEN
    UPDATE tidings.control SET run = v_run, since = tidings.clock() RETURNING * INTO v_state;
  END IF;
  RETURN v_state;
END $$;

-- Whether the log still goes on from here. A command that is not kept any more is believed.
CREATE FUNCTION tidings.control_goes_on(p_state tidings.control, p_epoch text, p_number bigint, p_id text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN p_epoch = p_state.epoch AND CASE
    WHEN p_number > p_state.top THEN false
    WHEN p_number = p_state.top THEN p_id = p_state.id
    ELSE NOT EXISTS (SELECT FROM tidings.control_log WHERE number = p_number AND id <> p_id)
  END;
END $$;

CREATE FUNCTION tidings.control_append(p_id text, p_time bigint, p_said text, p_most bigint, p_records bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_number bigint;
BEGIN
  UPDATE tidings.control SET top = top + 1, id = p_id, records = p_records RETURNING top INTO v_number;
  -- What somebody else has put behind the newest one.
  DELETE FROM tidings.control_log WHERE number = v_number;
  INSERT INTO tidings.control_log (number, id, time, said) VALUES (v_number, p_id, p_time, p_said);
  DELETE FROM tidings.control_log WHERE number <= v_number - p_most;
END $$;

-- Renews a lease. `status`: ok; missed, where commands are not kept any more, so that it goes on at the top; lost, where
-- commands may have been lost: no lease; newer, with the layout as `number`: no lease. What follows the place is read by
-- `control_after`.
CREATE FUNCTION tidings.control_lease(
  p_instance text, p_name text, p_length bigint, p_epoch text, p_number bigint, p_id text, p_layout integer,
  p_commands text[], p_counts double precision[],
  OUT status text, OUT epoch text, OUT number bigint, OUT id text, OUT "time" bigint, OUT top bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_state tidings.control;
  v_now bigint;
BEGIN
  v_state := tidings.control_locked();
  v_now := tidings.clock();
  "time" := v_now;
  epoch := v_state.epoch;
  top := v_state.top;
  IF v_state.layout > p_layout THEN
    status := 'newer';
    number := v_state.layout;
    RETURN;
  END IF;
  status := 'ok';
  number := p_number;
  id := p_id;
  IF p_epoch = '' THEN
    number := v_state.top;
    id := v_state.id;
    -- Instances that have ended without a word.
    DELETE FROM tidings.control_lease WHERE until < v_now;
  ELSIF NOT tidings.control_goes_on(v_state, p_epoch, p_number, p_id) THEN
    IF p_epoch = v_state.epoch THEN
      UPDATE tidings.control SET epoch = tidings.random_id(9), since = v_now;
    END IF;
    status := 'lost';
    RETURN;
  ELSIF p_number < v_state.top AND
    (SELECT count(*) FROM tidings.control_log WHERE number > p_number) < v_state.top - p_number THEN
    status := 'missed';
    number := v_state.top;
    id := v_state.id;
  END IF;
  IF v_state.layout IS NULL OR v_state.longest < p_length THEN
    UPDATE tidings.control SET layout = coalesce(layout, p_layout), longest = greatest(longest, p_length);
  ELSE
    -- Nothing that is written here has to outlive a crash: after one, leases are taken to be in force for the longest time.
    PERFORM set_config('synchronous_commit', 'off', true);
  END IF;
  INSERT INTO tidings.control_lease (instance, name, done, until)
    VALUES (p_instance, p_name, number, v_now + p_length)
    ON CONFLICT (instance) DO UPDATE SET name = excluded.name, done = excluded.done, until = excluded.until;
  INSERT INTO tidings.control_count (command, instance, time, count)
    SELECT command, p_instance, v_now, count FROM unnest(p_commands, p_counts) AS said (command, count)
    ON CONFLICT (command, instance) DO NOTHING;
END $$;

-- Commands and records, without a lock; at least one row, so that the epoch is told. `kind`: c, a command; r, a record, with
-- its key as `id` and its value as `said`.
CREATE FUNCTION tidings.control_after(p_number bigint, p_most bigint, p_records boolean)
RETURNS TABLE (epoch text, kind text, number bigint, id text, "time" bigint, said text, until double precision)
LANGUAGE sql STABLE AS $$
  SELECT s.epoch, e.kind, e.number, e.id, e.time, e.said, e.until
    FROM tidings.control s LEFT JOIN (
      (SELECT 'c' AS kind, number, id, time, said, NULL AS until FROM tidings.control_log
        WHERE number > p_number ORDER BY number LIMIT p_most)
      UNION ALL
      SELECT 'r', NULL, key, time, value, until FROM tidings.control_record WHERE p_records
    ) e ON true
    ORDER BY e.kind, e.number;
$$;

-- Appends a command, changes a record with it, and rings. `number`: where it stands; NULL where there are too many records.
-- `p_until` NULL: the record is removed.
CREATE FUNCTION tidings.control_command(
  p_id text, p_said text, p_most bigint, p_most_records bigint, p_key text, p_until double precision, p_value text,
  OUT epoch text, OUT number bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_state tidings.control := tidings.control_locked();
  v_now bigint := tidings.clock();
BEGIN
  epoch := v_state.epoch;
  -- An attempt whose answer got lost.
  SELECT l.number INTO number FROM tidings.control_log l WHERE l.id = p_id;
  IF FOUND THEN
    RETURN;
  END IF;
  IF p_key IS NOT NULL AND p_until IS NULL THEN
    DELETE FROM tidings.control_record WHERE key = p_key;
  ELSIF p_key IS NOT NULL THEN
    UPDATE tidings.control_record SET time = v_now, until = p_until, value = p_value WHERE key = p_key;
    IF NOT FOUND THEN
      IF v_state.records >= p_most_records THEN
        DELETE FROM tidings.control_record WHERE until <= v_now;
        SELECT count(*) INTO v_state.records FROM tidings.control_record;
        IF v_state.records >= p_most_records THEN
          RETURN;
        END IF;
      END IF;
      INSERT INTO tidings.control_record (key, time, until, value) VALUES (p_key, v_now, p_until, p_value);
      v_state.records := v_state.records + 1;
    END IF;
  END IF;
  PERFORM tidings.control_append(p_id, v_now, p_said, p_most, v_state.records);
  number := v_state.top + 1;
  -- All of them are looked at.
  IF number % 100 = 0 THEN
    DELETE FROM tidings.control_count WHERE time < v_now - 60000;
  END IF;
  PERFORM tidings.ring('c');
END $$;

-- Who has not carried out a command yet. `unknown`: milliseconds until leases that nobody here knows of are over; NULL where
-- the log has no such command any more.
CREATE FUNCTION tidings.control_progress(
  p_epoch text, p_number bigint, p_id text, p_length bigint,
  OUT unknown bigint, OUT pending text[], OUT count double precision)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_state tidings.control;
  v_now bigint;
BEGIN
  SELECT * INTO v_state FROM tidings.control;
  -- Where the clock was set back, what was given before is over as if it had been given now. Only behind the lock is `now` later
  -- than all that was given: a lease that is cut below what its instance counts on breaks the promise.
  IF v_state.run IS DISTINCT FROM tidings.control_run() OR v_state.since > tidings.clock()
    OR EXISTS (SELECT FROM tidings.control_lease WHERE until > tidings.clock() + v_state.longest) THEN
    v_state := tidings.control_locked();
    v_now := tidings.clock();
    UPDATE tidings.control_lease SET until = v_now + v_state.longest WHERE until > v_now + v_state.longest;
  END IF;
  v_now := tidings.clock();
  IF NOT tidings.control_goes_on(v_state, p_epoch, p_number, p_id) THEN
    RETURN;
  END IF;
  unknown := greatest(0, v_state.since + greatest(v_state.longest, p_length) - v_now);
  SELECT coalesce(array_agg(name ORDER BY name), '{}') INTO pending
    FROM tidings.control_lease WHERE until > v_now AND done < p_number;
  SELECT coalesce(sum(c.count), 0) INTO count FROM tidings.control_count c WHERE command = p_id;
END $$;

-- After commands may have been lost: writes again what an instance knows and the database does not. All of it is read by
-- `control_after`. A record that `p_untils` has no value for was removed.
CREATE FUNCTION tidings.control_restore(
  p_most bigint,
  p_keys text[], p_times bigint[], p_untils double precision[], p_values text[], p_record_ids text[], p_record_said text[],
  p_ids text[], p_command_times bigint[], p_said text[],
  OUT epoch text, OUT number bigint, OUT id text, OUT "time" bigint, OUT since bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_state tidings.control := tidings.control_locked();
  v_before bigint := v_state.top;
  v_now bigint := tidings.clock();
  v_one record;
  v_stored bigint;
BEGIN
  FOR v_one IN SELECT * FROM unnest(p_keys, p_times, p_untils, p_values, p_record_ids, p_record_said)
    AS known (key, time, until, value, id, said)
  LOOP
    v_stored := NULL;
    SELECT r.time INTO v_stored FROM tidings.control_record r WHERE r.key = v_one.key;
    CONTINUE WHEN v_one.time <= coalesce(v_stored, 0) OR (v_stored IS NULL AND v_one.until IS NULL);
    IF v_one.until IS NULL THEN
      DELETE FROM tidings.control_record WHERE key = v_one.key;
    ELSE
      INSERT INTO tidings.control_record (key, time, until, value)
        VALUES (v_one.key, v_one.time, v_one.until, v_one.value)
        ON CONFLICT (key) DO UPDATE SET time = excluded.time, until = excluded.until, value = excluded.value;
    END IF;
    PERFORM tidings.control_append(v_one.id, v_now, v_one.said, p_most, v_state.records);
  END LOOP;
  FOR v_one IN SELECT * FROM unnest(p_ids, p_command_times, p_said) AS known (id, time, said)
  LOOP
    CONTINUE WHEN EXISTS (SELECT FROM tidings.control_log l WHERE l.id = v_one.id);
    PERFORM tidings.control_append(v_one.id, v_one.time, v_one.said, p_most, v_state.records);
  END LOOP;
  UPDATE tidings.control SET records = (SELECT count(*) FROM tidings.control_record) RETURNING * INTO v_state;
  epoch := v_state.epoch;
  number := v_state.top;
  id := v_state.id;
  "time" := v_now;
  since := v_state.since;
  IF number > v_before THEN
    PERFORM tidings.ring('c');
  END IF;
END $$;
