-- tidings.send and tidings.publish, for applications: in their own transactions. A message is kept in `pending` until COMMIT,
-- and is appended to its channel then: so a long transaction holds up nobody, and those who send to the same users in another
-- order do not wait for each other.

CREATE TABLE tidings.pending (
  number bigint GENERATED ALWAYS AS IDENTITY,
  xact xid8 NOT NULL DEFAULT pg_current_xact_id(),
  channel text COLLATE "C" NOT NULL,
  id text NOT NULL,
  kind "char" NOT NULL,
  payload bytea NOT NULL,
  ttl bigint,
  replaces text,
  once text,
  PRIMARY KEY (number)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX pending_channel ON tidings.pending (channel, number);
CREATE INDEX pending_xact ON tidings.pending (xact);

-- What instances have said: how long messages are kept, and how large they may be.
CREATE TABLE tidings.setting (
  name text PRIMARY KEY,
  value jsonb NOT NULL
);
INSERT INTO tidings.setting (name, value) VALUES
  ('idle', '2592000000'),
  ('maxMessage', '65536'),
  ('retention', '{"inbox": [604800000, 1000], "topic": [86400000, 1000], "topics": {}}');

-- [milliseconds, messages]: of a topic's name, the exact one counts more than a pattern, a longer pattern more than a shorter one.
CREATE FUNCTION tidings.retention_of(p_channel text) RETURNS jsonb LANGUAGE plpgsql STABLE
AS $$
BEGIN
  RETURN (SELECT CASE WHEN starts_with(p_channel, 'user:') THEN value -> 'inbox' ELSE coalesce(
    (SELECT e.value FROM jsonb_each(s.value -> 'topics') e
      WHERE e.key = p_channel OR right(e.key, 1) = '*' AND starts_with(p_channel, left(e.key, -1))
      ORDER BY e.key = p_channel DESC, length(e.key) DESC LIMIT 1),
    value -> 'topic') END
  FROM tidings.setting s WHERE s.name = 'retention');
END
$$;

-- Appends what is pending for a channel and can be seen: one's own, and what is committed. In the order in which it was sent, and
-- `p_most` messages at the most; NULL: all. The channel is locked. Returns it as it is then: `save` it.
CREATE FUNCTION tidings.settle(p_channel tidings.channel, p_most int) RETURNS tidings.channel LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  c tidings.channel := p_channel;
  v_retention jsonb;
  v_receipt tidings.receipt;
  v tidings.pending;
BEGIN
  FOR v IN
    WITH taken AS (
      DELETE FROM tidings.pending WHERE number = ANY (ARRAY(
        SELECT p.number FROM tidings.pending p WHERE p.channel = c.name ORDER BY p.number LIMIT p_most
      )) RETURNING *
    ) SELECT * FROM taken ORDER BY number
  LOOP
    IF v_retention IS NULL THEN
      v_retention := tidings.retention_of(c.name);
      c.max_age := (v_retention ->> 0)::bigint;
      c.max_messages := (v_retention ->> 1)::bigint;
    END IF;
    IF v.once IS NOT NULL THEN
      v_receipt := tidings.receipt_of(c.key, v.once);
      CONTINUE WHEN v_receipt.once IS NOT NULL;
    END IF;
    c := tidings.append(c, v.id, v.kind, v.payload, v.ttl, v.replaces, NULL, '');
    IF v.once IS NOT NULL THEN
      c.keep := greatest(c.keep, 86400000);
      PERFORM tidings.remember(c, v.once, 86400000);
    END IF;
  END LOOP;
  RETURN c;
END
$$;

-- Whether it was not locked by somebody else.
CREATE FUNCTION tidings.settle_channel(p_name text, p_waits boolean, p_most int) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  c tidings.channel;
BEGIN
  c := tidings.obtain(p_name, '', (SELECT value::bigint FROM tidings.setting WHERE name = 'idle'), p_waits);
  IF c.key IS NULL THEN
    RETURN false;
  END IF;
  c := tidings.settle(c, p_most);
  PERFORM tidings.save(c);
  RETURN true;
END
$$;

-- At COMMIT, for the first of the transaction's messages: appends all of them, channel by channel in one order.
--
-- What is prepared for a commit in two phases must not have rung, and would keep channels locked; and a transaction that sees
-- only what was there when it began can't append to what others have written since. Their messages stay pending, are as
-- committed, and an instance appends them, or whoever sends next to the same channel.
--
-- PREPARE TRANSACTION may be one of several statements that were sent together, of which one can't tell here which it is that
-- is executed. Who is taken for it by mistake waits for an instance.
CREATE FUNCTION tidings.at_commit() RETURNS trigger LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_name text;
  v_is_isolated boolean := current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted');
BEGIN
  -- With another one it was appended. Serializable transactions that look where others write fail more often.
  IF NOT v_is_isolated AND NOT EXISTS (SELECT FROM tidings.pending p WHERE p.number = NEW.number) THEN
    RETURN NULL;
  END IF;
  -- It was seen for another one of them that they stay pending.
  IF current_setting('tidings.stay', true) = pg_current_xact_id()::text THEN
    RETURN NULL;
  END IF;
  -- In Turkish, I is no upper case of i.
  IF lower(current_setting('tidings.two_phase', true) COLLATE "C") IN ('on', 'true', 'yes', '1')
    OR current_query() COLLATE "C" ~* format($re$(^|;)%1$s*prepare%1$s+transaction\M$re$, $re$(\s|/\*([^*]|\*+[^*/])*\*+/|--[^\n]*\n)$re$)
  THEN
    PERFORM set_config('tidings.stay', pg_current_xact_id()::text, true);
    RETURN NULL;
  END IF;
  IF v_is_isolated THEN
    PERFORM tidings.ring('q');
    PERFORM set_config('tidings.stay', pg_current_xact_id()::text, true);
    RETURN NULL;
  END IF;
  FOR v_name IN SELECT DISTINCT p.channel FROM tidings.pending p WHERE p.xact = pg_current_xact_id() ORDER BY 1 LOOP
    PERFORM tidings.settle_channel(v_name, true, NULL);
  END LOOP;
  RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON tidings.pending DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION tidings.at_commit();

-- Appends what was left pending of so many channels behind `p_after`. `last`: where to go on; NULL: there is none behind it. One
-- that somebody else keeps locked, or that can't be appended to, is passed over: `problem` says what is wrong with it. Of one for
-- which very much is pending, some of it: it is where to go on.
CREATE FUNCTION tidings.sweep(p_after text, p_most int, OUT last text, OUT state text, OUT problem text)
LANGUAGE plpgsql VOLATILE SET lock_timeout = '2s'
AS $$
DECLARE
  v_names text[] := ARRAY(SELECT DISTINCT channel FROM tidings.pending WHERE channel > p_after ORDER BY channel LIMIT p_most);
  v_name text;
  v_begin bigint := tidings.clock();
BEGIN
  last := p_after;
  FOREACH v_name IN ARRAY v_names LOOP
    BEGIN
      IF tidings.settle_channel(v_name, false, 1000) AND EXISTS (SELECT FROM tidings.pending WHERE channel = v_name) THEN
        RETURN;
      END IF;
    EXCEPTION WHEN OTHERS THEN
      state := SQLSTATE;
      problem := SQLERRM;
    END;
    last := v_name;
    -- Other rows are locked until this is over.
    IF tidings.clock() > v_begin + 2000 THEN
      RETURN;
    END IF;
  END LOOP;
  IF cardinality(v_names) < p_most THEN
    last := NULL;
  END IF;
END
$$;

-- Characters as names.ts counts them: in UTF-16.
CREATE FUNCTION tidings.length_of(p_text text) RETURNS int LANGUAGE sql IMMUTABLE
AS $$ SELECT char_length(p_text) + char_length(regexp_replace(p_text, $re$[\u0001-\uffff]$re$, '', 'g')) $$;

-- What is wrong with a name; NULL if nothing is. As names.ts has it. It becomes part of its caller only as long as all in it is
-- immutable: a number is not appended to a text without a cast.
CREATE FUNCTION tidings.name_problem(p_what text, p_name text, p_most int) RETURNS text LANGUAGE sql IMMUTABLE
AS $$
  SELECT CASE
    WHEN p_name IS NULL OR p_name = '' THEN 'the ' || p_what || ' is empty'
    WHEN char_length(p_name) > p_most OR tidings.length_of(p_name) > p_most
      THEN 'the ' || p_what || ' is longer than ' || p_most::text || ' characters'
    WHEN p_name ~ $re$[\u0001-\u001f\u007f-\u009f]$re$ THEN 'the ' || p_what || ' has control characters'
    WHEN p_name IN ('.', '..') THEN 'the ' || p_what || ' is . or .., which can not be part of a URL'
  END
$$;

-- A key as instances write it (text.ts).
CREATE FUNCTION tidings.key_of(p_key text) RETURNS text LANGUAGE sql IMMUTABLE
AS $$ SELECT replace(p_key, chr(1), chr(1) || '1') $$;

CREATE FUNCTION tidings.enqueue(p_channel text, p_data jsonb, p_ttl interval, p_replaces text, p_key text) RETURNS text
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  v_payload bytea := convert_to(p_data::text, 'UTF8');
  v_most bigint := (SELECT value::bigint FROM tidings.setting WHERE name = 'maxMessage');
  v_ttl numeric := ceil(extract(epoch FROM p_ttl) * 1000);
  v_id text := tidings.random_id(12);
BEGIN
  IF p_data IS NULL THEN
    RAISE EXCEPTION 'the data of a message is NULL' USING ERRCODE = '22004', HINT = 'JSON has a null of its own: ''null''::jsonb';
  END IF;
  IF octet_length(v_payload) > v_most THEN
    RAISE EXCEPTION 'the message has % bytes, and may have %', octet_length(v_payload), v_most
      USING ERRCODE = '54000', HINT = 'the limit is that of the instances: limits.message';
  END IF;
  IF v_ttl <= 0 THEN
    RAISE EXCEPTION 'ttl has to be above 0' USING ERRCODE = '22023';
  END IF;
  IF p_replaces = '' OR tidings.length_of(p_replaces) > 256 THEN
    RAISE EXCEPTION 'what a message replaces is a key of 1 to 256 characters' USING ERRCODE = '22023';
  END IF;
  IF tidings.length_of(p_key) > 256 THEN
    RAISE EXCEPTION 'an idempotency key has at most 256 characters' USING ERRCODE = '22023';
  END IF;
  -- Of NULL and a number, `least` is the number.
  IF v_ttl > 140737488355328 THEN
    v_ttl := 140737488355328;
  END IF;
  INSERT INTO tidings.pending (channel, id, kind, payload, ttl, replaces, once)
  VALUES (p_channel, v_id, 'j', v_payload, v_ttl::bigint, tidings.key_of(p_replaces), tidings.key_of(p_key));
  RETURN v_id;
END
$$;

-- Sends to a user when this transaction commits, and not if it does not. Returns the message's id.
--
-- ttl              after which it expires. Without it, it does not
-- replaces         takes the place of the newest message to this user with the same key
-- idempotency_key  the same key to the same user within 24 hours stores nothing more
--
-- Texts may come from columns of any collation, of which some can't be looked into.
CREATE FUNCTION tidings.send(
  "user" text, data jsonb, ttl interval DEFAULT NULL, replaces text DEFAULT NULL, idempotency_key text DEFAULT NULL
) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_problem text := tidings.name_problem('user name', $1 COLLATE "C", 128);
BEGIN
  IF v_problem IS NOT NULL THEN
    RAISE EXCEPTION '%', v_problem USING ERRCODE = '22023';
  END IF;
  RETURN tidings.enqueue('user:' || $1 COLLATE "C", $2, $3, $4 COLLATE "C", $5 COLLATE "C");
END
$$;

-- Publishes to a topic, in the same way.
CREATE FUNCTION tidings.publish(
  topic text, data jsonb, ttl interval DEFAULT NULL, replaces text DEFAULT NULL, idempotency_key text DEFAULT NULL
) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_topic text COLLATE "C" := $1;
  v_problem text := tidings.name_problem('topic', v_topic, 256);
BEGIN
  IF v_problem IS NULL AND (v_topic IN ('inbox', 'broadcast') OR starts_with(v_topic, 'user:')) THEN
    v_problem := format('%s is not a topic: inbox, broadcast and what begins with user: are reserved', v_topic);
  END IF;
  IF v_problem IS NOT NULL THEN
    RAISE EXCEPTION '%', v_problem USING ERRCODE = '22023';
  END IF;
  RETURN tidings.enqueue(v_topic, $2, $3, $4 COLLATE "C", $5 COLLATE "C");
END
$$;
