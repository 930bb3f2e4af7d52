-- Which sessions users have, and which are on topics. A session is written once, with the life of its instance, which the
-- instance lengthens; readers leave out the sessions of lives that are over. All of it is written again by those who live
-- after a crash or a promotion of the database, which empties these tables.

CREATE UNLOGGED TABLE tidings.life (
  life text COLLATE "C" PRIMARY KEY,
  -- Milliseconds since 1970.
  until bigint NOT NULL,
  -- Milliseconds that one sign of life is good for.
  length bigint NOT NULL,
  -- Whether its instance still writes under this name.
  is_open boolean NOT NULL DEFAULT true
) WITH (fillfactor = 50);

CREATE UNLOGGED TABLE tidings.session (
  -- `user:<name>`, or the topic.
  place text COLLATE "C",
  session text COLLATE "C",
  life text COLLATE "C" NOT NULL,
  user_name text COLLATE "C" NOT NULL,
  -- As JSON.
  entry text NOT NULL,
  PRIMARY KEY (place, session)
);
CREATE INDEX ON tidings.session (life);

-- A life begins in the place of another one of the same instance: whatever is still on its way under that name has no effect.
-- Its sessions are there until they are written again, or as long as it would have been.
CREATE FUNCTION tidings.presence_begin(p_life text, p_milliseconds bigint, p_former text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE tidings.life SET is_open = false WHERE life = p_former;
  INSERT INTO tidings.life (life, until, length) VALUES (p_life, tidings.clock() + p_milliseconds, p_milliseconds);
END $$;

-- False where the life is over: then its sessions may be forgotten by now. Removes some of what others have left behind.
CREATE FUNCTION tidings.presence_beat(p_life text, p_milliseconds bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  v_lives boolean;
  v_over text;
BEGIN
  UPDATE tidings.life SET until = tidings.clock() + p_milliseconds, length = p_milliseconds WHERE life = p_life AND is_open;
  v_lives := FOUND;
  -- The clock was set back: as long as it would have been.
  IF EXISTS (SELECT FROM tidings.life WHERE until > tidings.clock() + length) THEN
    UPDATE tidings.life l SET until = tidings.clock() + l.length FROM (
      SELECT life FROM tidings.life WHERE until > tidings.clock() + length FOR UPDATE SKIP LOCKED
    ) late WHERE l.life = late.life;
  END IF;
  SELECT life INTO v_over FROM tidings.life
    WHERE until < tidings.clock() AND life <> p_life LIMIT 1 FOR UPDATE SKIP LOCKED;
  IF FOUND THEN
    DELETE FROM tidings.session WHERE (place, session) IN (
      SELECT place, session FROM tidings.session WHERE life = v_over LIMIT 2000 FOR UPDATE SKIP LOCKED);
    IF NOT EXISTS (SELECT FROM tidings.session WHERE life = v_over) THEN
      DELETE FROM tidings.life WHERE life = v_over;
    END IF;
  END IF;
  RETURN v_lives;
END $$;

-- Writes and removes sessions. False where the life is over: then nothing was done.
CREATE FUNCTION tidings.presence_change(
  p_life text, p_places text[], p_sessions text[], p_users text[], p_entries text[],
  p_gone_places text[], p_gone_sessions text[])
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM tidings.life WHERE life = p_life AND is_open FOR SHARE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  DELETE FROM tidings.session s USING unnest(p_gone_places, p_gone_sessions) AS gone (place, session)
    WHERE s.place = gone.place AND s.session = gone.session;
  INSERT INTO tidings.session (place, session, life, user_name, entry)
    SELECT place, session, p_life, user_name, entry
      FROM unnest(p_places, p_sessions, p_users, p_entries) AS said (place, session, user_name, entry)
      ORDER BY place, session
    ON CONFLICT (place, session)
      DO UPDATE SET life = excluded.life, user_name = excluded.user_name, entry = excluded.entry;
  RETURN true;
END $$;

CREATE FUNCTION tidings.presence_end(p_life text) RETURNS void LANGUAGE sql AS $$
  UPDATE tidings.life SET until = 0, is_open = false WHERE life = p_life;
$$;

CREATE FUNCTION tidings.presence_of(p_place text) RETURNS TABLE (entry text) LANGUAGE sql STABLE AS $$
  SELECT s.entry FROM tidings.session s JOIN tidings.life l USING (life)
    WHERE s.place = p_place AND l.until > tidings.clock();
$$;

CREATE FUNCTION tidings.presence_online(p_places text[]) RETURNS TABLE (place text) LANGUAGE sql STABLE AS $$
  SELECT DISTINCT s.place FROM tidings.session s JOIN tidings.life l USING (life)
    WHERE s.place = ANY (p_places) AND l.until > tidings.clock();
$$;

-- The first row tells how many users and sessions there are in all, the others some of the users.
CREATE FUNCTION tidings.presence_attendance(p_place text, p_most bigint)
RETURNS TABLE (user_name text, users bigint, sessions bigint) LANGUAGE sql STABLE AS $$
  WITH here AS (
    SELECT s.user_name, count(*) AS sessions FROM tidings.session s JOIN tidings.life l USING (life)
      WHERE s.place = p_place AND l.until > tidings.clock() GROUP BY s.user_name
  )
  SELECT NULL, count(*), coalesce(sum(sessions), 0)::bigint FROM here
  UNION ALL
  (SELECT user_name, 1, sessions FROM here LIMIT p_most);
$$;
