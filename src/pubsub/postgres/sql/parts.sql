-- Partitions by the time until which rows are kept: what is over goes with its partition, and leaves nothing to clean up.

CREATE TABLE tidings.part (
  parent text NOT NULL,
  name text NOT NULL,
  -- All of it has `until` below.
  upper bigint NOT NULL,
  PRIMARY KEY (parent, upper)
);

-- By the rights of the tables' owner, as whoever may write to them may make room.
--
-- Makes partitions for rows that are kept for so many milliseconds from now on, each for about a quarter of that.
CREATE FUNCTION tidings.prepare(p_parent text, p_age bigint) RETURNS void LANGUAGE plpgsql VOLATILE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_now bigint := tidings.clock();
  v_width bigint := greatest(3600000, ceil(p_age / 4.0));
  v_lower bigint;
  v_upper bigint;
  v_name text;
BEGIN
  SELECT max(upper) INTO v_lower FROM tidings.part WHERE parent = p_parent;
  IF v_lower > v_now + p_age + v_width THEN
    RETURN;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('tidings' || ' parts', 0));
  SELECT max(upper) INTO v_lower FROM tidings.part WHERE parent = p_parent;
  WHILE v_lower IS NULL OR v_lower <= v_now + p_age + v_width LOOP
    v_upper := (greatest(coalesce(v_lower, 0), v_now) / v_width + 1) * v_width;
    v_name := p_parent || '_' || v_upper;
    EXECUTE format('CREATE TABLE %I.%I (LIKE %I.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS) '
      'WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.2)', 'tidings', v_name, 'tidings', p_parent);
    EXECUTE format('ALTER TABLE %I.%I ATTACH PARTITION %I.%I FOR VALUES FROM (%s) TO (%s)',
      'tidings', p_parent, 'tidings', v_name, coalesce(v_lower::text, 'MINVALUE'), v_upper);
    INSERT INTO tidings.part (parent, name, upper) VALUES (p_parent, v_name, v_upper);
    v_lower := v_upper;
  END LOOP;
END
$$;

-- Where a row goes that is to be kept until then: there is a partition for it, even if none was made for long. Where it is told
-- an earlier time, the row itself holds its partition (`hold`): nobody waits for anybody to say so.
CREATE FUNCTION tidings.placed(p_parent text, p_until bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  v_first bigint;
  v_last bigint;
BEGIN
  SELECT min(upper), max(upper) INTO v_first, v_last FROM tidings.part WHERE parent = p_parent;
  IF p_until < v_last THEN
    -- What was before the first one is dropped, wherever a clock that was set back may stand.
    RETURN greatest(p_until, v_first - 1);
  END IF;
  RETURN v_last - 1;
END
$$;

-- Whether a partition has a row that has to be kept longer than the others in it. Not one that somebody has removed by himself.
CREATE FUNCTION tidings.is_held(p_part text) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  v_is_held boolean;
BEGIN
  IF to_regclass(format('%I.%I', 'tidings', p_part)) IS NULL THEN
    RETURN false;
  END IF;
  EXECUTE format('SELECT EXISTS (SELECT FROM %I.%I WHERE hold > tidings.clock())', 'tidings', p_part) INTO v_is_held;
  RETURN v_is_held;
END
$$;

-- Drops one partition whose time is over. Whether there was one. Whoever calls it sets a short lock_timeout: it waits for all
-- who use the parent, and all others wait for it.
CREATE FUNCTION tidings.drop_part() RETURNS boolean LANGUAGE plpgsql VOLATILE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_part tidings.part;
BEGIN
  FOR v_part IN SELECT * FROM tidings.part WHERE upper <= tidings.clock() ORDER BY upper FOR UPDATE SKIP LOCKED LOOP
    CONTINUE WHEN tidings.is_held(v_part.name);
    EXECUTE format('LOCK TABLE ONLY %I.%I', 'tidings', v_part.parent);
    -- Somebody may have added to it before he was kept out.
    CONTINUE WHEN tidings.is_held(v_part.name);
    EXECUTE format('DROP TABLE IF EXISTS %I.%I', 'tidings', v_part.name);
    DELETE FROM tidings.part WHERE parent = v_part.parent AND upper = v_part.upper;
    RETURN true;
  END LOOP;
  RETURN false;
END
$$;
