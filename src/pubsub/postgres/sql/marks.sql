-- What is kept beside a channel's log of the states of its messages (marks.ts), as ranges of their numbers.
--
-- Whoever changes a channel's marks has locked its row in tidings.channel. A statement that has locked something answers with
-- little, as its locks last until the answer has left for a client that may be slow: marks of many ranges are asked for
-- again, with tidings.marked, which locks nothing.

CREATE TABLE tidings.marks (
  channel bigint PRIMARY KEY,        -- key of tidings.channel
  version_epoch text NOT NULL,       -- as `Marks.version`; another epoch: changes were lost
  version_number bigint NOT NULL,
  version_id text NOT NULL,
  top bigint NOT NULL,               -- number of the newest message at the last change
  changed bigint NOT NULL,           -- messages that the last change has changed
  seen int8multirange NOT NULL,
  read int8multirange NOT NULL,
  archived int8multirange NOT NULL,
  gone int8multirange NOT NULL       -- kept as `g`, and erased: always both
);

-- How many numbers are in the ranges.
CREATE FUNCTION tidings.size(p_ranges int8multirange) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN coalesce((SELECT sum(upper(r) - lower(r)) FROM unnest(p_ranges) r), 0);
END
$$;

CREATE FUNCTION tidings.ranges_of(p_numbers bigint[]) RETURNS int8multirange LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN coalesce((SELECT range_agg(int8range(n, n + 1)) FROM unnest(p_numbers) n), '{}');
END
$$;

-- How many ranges reach `first` or above.
CREATE FUNCTION tidings.count_ranges(p_marks tidings.marks, p_first bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN (SELECT count(*) FROM unnest(p_marks.seen) r WHERE upper(r) > p_first)
    + (SELECT count(*) FROM unnest(p_marks.read) r WHERE upper(r) > p_first)
    + (SELECT count(*) FROM unnest(p_marks.archived) r WHERE upper(r) > p_first)
    + (SELECT count(*) FROM unnest(p_marks.gone) r WHERE upper(r) > p_first);
END
$$;

-- Of messages that are kept and not gone, the first ones, as many as are erased in one step: some hundreds, of a few MiB.
CREATE FUNCTION tidings.first_of(p_channel bigint, p_about int8multirange) RETURNS bigint[] LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN ARRAY(
    SELECT number FROM (
      SELECT number, sum(octet_length(payload)) OVER (ORDER BY number) - octet_length(payload) AS bytes_before
      FROM tidings.message
      WHERE channel = p_channel AND number = ANY (ARRAY(
        SELECT generate_series(lower(r), upper(r) - 1) FROM unnest(p_about) r LIMIT 500
      ))
    ) AS counted WHERE bytes_before < 4194304 ORDER BY number
  );
END
$$;

-- Erases messages, which keep their places.
CREATE FUNCTION tidings.erase(p_channel bigint, p_numbers bigint[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  UPDATE tidings.message SET kind = 'g', payload = '', expires = NULL, replaces = NULL, trace = NULL
  WHERE channel = p_channel AND number = ANY (p_numbers);
END
$$;

-- When the first of the messages expires.
CREATE FUNCTION tidings.next_expiry(p_channel bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (SELECT min(expires) FROM tidings.message WHERE channel = p_channel AND expires IS NOT NULL);
END
$$;

-- The marks of a channel, or those of one that has none.
CREATE FUNCTION tidings.load_marks(p_channel bigint) RETURNS tidings.marks LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_marks tidings.marks;
BEGIN
  SELECT * INTO v_marks FROM tidings.marks WHERE channel = p_channel;
  IF NOT FOUND THEN
    v_marks := ROW(p_channel, '', 0, '', 0, 0, '{}', '{}', '{}', '{}')::tidings.marks;
  END IF;
  RETURN v_marks;
END
$$;

-- Marks as instances are told of them (postgres-marks.ts). `expires`: when the first message does. Without ranges: where they
-- are to be asked for.
CREATE FUNCTION tidings.written(
  p_channel tidings.channel, p_marks tidings.marks, p_expires bigint, p_has_ranges boolean
) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_next bigint := CASE WHEN p_channel.first <= p_channel.number THEN least(p_expires, p_channel.head + p_channel.max_age) END;
BEGIN
  IF p_has_ranges THEN
    RETURN json_build_array(p_channel.epoch, p_channel.number, p_channel.id, p_channel.first, p_channel.max_messages, v_next,
      p_marks.version_epoch, p_marks.version_number, p_marks.version_id,
      p_marks.seen, p_marks.read, p_marks.archived, p_marks.gone);
  END IF;
  RETURN json_build_array(p_channel.epoch, p_channel.number, p_channel.id, p_channel.first, p_channel.max_messages, v_next,
    p_marks.version_epoch, p_marks.version_number, p_marks.version_id);
END
$$;

-- The same of a channel that was never used.
CREATE FUNCTION tidings.no_marks(p_idle bigint) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN json_build_array(tidings.unused(p_idle), 0, '', 1, 4294967295, NULL, '', 0, '', '{}', '{}', '{}', '{}');
END
$$;

-- The same for who looks, of any length; NULL where messages have expired, which is to be put right first.
CREATE FUNCTION tidings.marked(p_channel tidings.channel) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_expires bigint := tidings.next_expiry(p_channel.key);
BEGIN
  IF v_expires <= tidings.clock() THEN
    RETURN NULL;
  END IF;
  RETURN tidings.written(p_channel, tidings.load_marks(p_channel.key), v_expires, true);
END
$$;

-- Whether changes are missing that somebody knows of. `known`: as tidings.mark has it.
CREATE FUNCTION tidings.lacks(p_marks tidings.marks, p_known text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  v_number bigint;
BEGIN
  IF p_marks.version_number > 0 AND split_part(p_known, ' ', 1) = p_marks.version_epoch THEN
    v_number := split_part(p_known, ' ', 2);
    RETURN v_number > p_marks.version_number
      OR v_number = p_marks.version_number AND split_part(p_known, ' ', 3) <> p_marks.version_id;
  END IF;
  RETURN false;
END
$$;

-- Stores marks that have changed, and tells subscribers. Returns what the one who has changed them is told.
CREATE FUNCTION tidings.save_marks(
  p_channel tidings.channel, p_marks tidings.marks, p_expires bigint, p_id text, p_changed bigint
) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_kept int8multirange := int8multirange(int8range(p_channel.first, NULL));
  v_bell text := 's ' || tidings.escaped(p_channel.name) || E'\n';
  v_told text;
BEGIN
  IF p_marks.version_epoch = '' THEN
    p_marks.version_epoch := tidings.random_id(9);
  END IF;
  p_marks.version_number := p_marks.version_number + 1;
  p_marks.version_id := p_id;
  p_marks.top := p_channel.number;
  p_marks.changed := p_changed;
  p_marks.seen := p_marks.seen * v_kept;
  p_marks.read := p_marks.read * v_kept;
  p_marks.archived := p_marks.archived * v_kept;
  p_marks.gone := p_marks.gone * v_kept;
  INSERT INTO tidings.marks SELECT p_marks.*
  ON CONFLICT (channel) DO UPDATE SET
    version_epoch = excluded.version_epoch, version_number = excluded.version_number, version_id = excluded.version_id,
    top = excluded.top, changed = excluded.changed,
    seen = excluded.seen, read = excluded.read, archived = excluded.archived, gone = excluded.gone;
  v_told := tidings.written(p_channel, p_marks, p_expires, true);
  PERFORM tidings.ring(CASE WHEN octet_length(v_bell) + octet_length(v_told) <= 7900 THEN v_bell || v_told ELSE v_bell END);
  IF octet_length(v_told) > 4000 THEN
    v_told := tidings.written(p_channel, p_marks, p_expires, false);
  END IF;
  RETURN v_told;
END
$$;

-- These messages are gone, as others have taken their places: called with the channel as it is then, its row locked.
CREATE FUNCTION tidings.gone(p_channel tidings.channel, p_numbers bigint[], p_known text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_marks tidings.marks := tidings.load_marks(p_channel.key);
BEGIN
  IF tidings.lacks(v_marks, p_known) THEN
    v_marks.version_epoch := '';
  END IF;
  PERFORM tidings.erase(p_channel.key, p_numbers);
  v_marks.gone := v_marks.gone + tidings.ranges_of(p_numbers);
  PERFORM tidings.save_marks(
    p_channel, v_marks, tidings.next_expiry(p_channel.key), tidings.random_id(12), cardinality(p_numbers));
END
$$;

-- Marks messages of a channel, and takes away what has expired.
--
-- look     as tidings.look has it
-- known    'epoch number id' of a version that the marks are known to have had, or ''
-- id       of this change
-- as       '' to take away only, or what to mark messages as; `withdrawn` is `deleted`, however many ranges there are
-- which    'all'; 'upTo', the one position that is given; 'messages', those positions; 'key', which it was to be replaced by
-- patience as tidings.look has it
--
-- marked   as tidings.written has it
-- changed  how many messages; below zero, the number of ranges that were too many
-- rest     0: all is done. 1: some of it is left. -1: all of it is. Then it is to be called again: one call would be long.
--
-- Said again with the same id and nothing changed in between, it says again what it has changed.
CREATE FUNCTION tidings.mark(
  p_name text, p_look text, p_idle bigint, p_known text, p_id text, p_as text, p_which text, p_key text,
  p_epochs text[], p_numbers bigint[], p_ids text[], p_patience text,
  OUT marked text, OUT changed bigint, OUT rest integer
) LANGUAGE plpgsql AS $$
DECLARE
  v_channel tidings.channel := tidings.look(p_name, p_look, p_idle, p_patience);
  v_marks tidings.marks;
  v_before tidings.marks;
  v_newest bigint := v_channel.number;
  v_changed_before bigint := 0;
  v_is_changed boolean := false;
  v_now bigint := tidings.clock();
  v_expires bigint;
  v_about int8multirange;
  v_these bigint[];
  v_ranges bigint;
BEGIN
  changed := 0;
  rest := 0;
  IF v_channel.key IS NULL THEN
    marked := tidings.no_marks(p_idle);
    RETURN;
  END IF;
  v_marks := tidings.load_marks(v_channel.key);
  v_expires := tidings.next_expiry(v_channel.key);
  IF tidings.lacks(v_marks, p_known) THEN
    v_marks.version_epoch := '';
    v_is_changed := true;
  END IF;
  IF v_marks.version_number > 0 AND v_marks.version_id = p_id THEN
    v_newest := v_marks.top;
    v_changed_before := v_marks.changed;
  END IF;

  IF v_expires <= v_now THEN
    v_these := tidings.first_of(v_channel.key, tidings.ranges_of(ARRAY(
      SELECT number FROM tidings.message WHERE channel = v_channel.key AND expires <= v_now ORDER BY expires LIMIT 500
    )));
    PERFORM tidings.erase(v_channel.key, v_these);
    v_about := tidings.ranges_of(v_these) * int8multirange(int8range(v_channel.first, NULL));
    v_marks.gone := v_marks.gone + v_about;
    v_is_changed := v_is_changed OR NOT isempty(v_about);
    v_expires := tidings.next_expiry(v_channel.key);
    IF v_expires <= v_now THEN
      rest := -1;
    END IF;
  END IF;

  IF p_as <> '' AND rest = 0 THEN
    CASE p_which
      WHEN 'all' THEN
        v_about := int8multirange(int8range(v_channel.first, greatest(v_newest + 1, v_channel.first)));
      WHEN 'upTo' THEN
        SELECT int8multirange(int8range(v_channel.first, number + 1)) INTO v_about FROM tidings.message
        WHERE channel = v_channel.key AND number = p_numbers[1] AND id = p_ids[1] AND p_epochs[1] = v_channel.epoch
          AND number BETWEEN v_channel.first AND v_channel.number;
      WHEN 'messages' THEN
        SELECT range_agg(int8range(k.number, k.number + 1)) INTO v_about
        FROM unnest(p_epochs, p_numbers, p_ids) AS named (its_epoch, its_number, its_id)
        JOIN tidings.message k ON k.channel = v_channel.key AND k.number = its_number AND k.id = its_id
        WHERE its_epoch = v_channel.epoch AND its_number BETWEEN v_channel.first AND v_channel.number;
      WHEN 'key' THEN
        SELECT int8multirange(int8range(number, number + 1)) INTO v_about FROM tidings.message
        WHERE channel = v_channel.key AND replaces = p_key AND number >= v_channel.first ORDER BY number DESC LIMIT 1;
    END CASE;
    v_about := coalesce(v_about, '{}') - v_marks.gone;
    v_before := v_marks;
    CASE p_as
      WHEN 'seen' THEN
        changed := tidings.size(v_about - v_marks.seen);
        v_marks.seen := v_marks.seen + v_about;
      WHEN 'read' THEN
        changed := tidings.size(v_about - v_marks.read);
        v_marks.seen := v_marks.seen + v_about;
        v_marks.read := v_marks.read + v_about;
      WHEN 'unread' THEN
        changed := tidings.size(v_about * v_marks.read);
        v_marks.read := v_marks.read - v_about;
      WHEN 'archived' THEN
        changed := tidings.size(v_about - v_marks.archived);
        v_marks.archived := v_marks.archived + v_about;
      WHEN 'unarchived' THEN
        changed := tidings.size(v_about * v_marks.archived);
        v_marks.archived := v_marks.archived - v_about;
      WHEN 'deleted', 'withdrawn' THEN
        changed := tidings.size(v_about);
        v_marks.gone := v_marks.gone + v_about;
    END CASE;
    v_ranges := tidings.count_ranges(v_marks, v_channel.first);
    IF changed = 0 THEN
      v_marks := v_before;
    ELSIF p_as <> 'withdrawn' AND v_ranges > 4096 AND v_ranges > tidings.count_ranges(v_before, 0) THEN
      changed := -v_ranges;
      v_marks := v_before;
    ELSE
      IF p_as IN ('deleted', 'withdrawn') THEN
        v_these := tidings.first_of(v_channel.key, v_about);
        PERFORM tidings.erase(v_channel.key, v_these);
        v_expires := tidings.next_expiry(v_channel.key);
        IF cardinality(v_these) < changed THEN
          v_marks.gone := v_before.gone + tidings.ranges_of(v_these);
          changed := cardinality(v_these);
          rest := 1;
        END IF;
      END IF;
      v_is_changed := true;
    END IF;
  END IF;

  IF v_is_changed THEN
    marked := tidings.save_marks(v_channel, v_marks, v_expires, p_id, v_changed_before + greatest(changed, 0));
  ELSE
    marked := tidings.written(v_channel, v_marks, v_expires, true);
    IF octet_length(marked) > 4000 THEN
      marked := tidings.written(v_channel, v_marks, v_expires, false);
    END IF;
  END IF;
  IF changed >= 0 THEN
    changed := v_changed_before + changed;
  END IF;
END
$$;

-- The marks of a channel for who looks, as tidings.written has them, or of one that was never used. NULL where something has
-- to be put right first, by tidings.mark. Nothing is locked, and nothing written.
CREATE FUNCTION tidings.marks(p_name text, p_idle bigint, p_look text, p_known text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_channel tidings.channel;
BEGIN
  SELECT * INTO v_channel FROM tidings.channel WHERE name = p_name;
  IF NOT FOUND THEN
    RETURN CASE WHEN NOT tidings.has_lost(p_look) THEN tidings.no_marks(p_idle) END;
  END IF;
  IF tidings.is_due(v_channel, p_look) OR tidings.lacks(tidings.load_marks(v_channel.key), p_known) THEN
    RETURN NULL;
  END IF;
  RETURN tidings.marked(v_channel);
END
$$;
