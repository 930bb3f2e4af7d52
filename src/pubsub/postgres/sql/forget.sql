-- Forgetting what nobody uses any more (postgres-tidy.ts).

CREATE FUNCTION tidings.forget(p_channel bigint) RETURNS void LANGUAGE sql VOLATILE
AS $$
  DELETE FROM tidings.cursor WHERE channel = p_channel;
  DELETE FROM tidings.marks WHERE channel = p_channel;
  DELETE FROM tidings.receipt WHERE channel = p_channel;
  DELETE FROM tidings.message WHERE channel = p_channel;
  DELETE FROM tidings.channel WHERE key = p_channel;
$$;

-- Looks at the channels behind `p_after`, so many of them or as many as it has time for, and forgets those whose time is over, and
-- cursors that have expired. Returns the last one it has looked at; NULL: there is none behind it.
CREATE FUNCTION tidings.tidy(p_after bigint, p_most int) RETURNS bigint LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  v_now bigint := tidings.clock();
  v_last bigint;
  v_key bigint;
BEGIN
  SELECT max(key) INTO v_last FROM (SELECT key FROM tidings.channel WHERE key > p_after ORDER BY key LIMIT p_most) AS those;
  FOR v_key IN
    SELECT key FROM tidings.channel WHERE key > p_after AND key <= v_last AND used + keep + keep / 4 < v_now
    ORDER BY key FOR UPDATE SKIP LOCKED
  LOOP
    PERFORM tidings.forget(v_key);
    IF tidings.clock() > v_now + 2000 THEN
      v_last := v_key;
      EXIT;
    END IF;
  END LOOP;
  DELETE FROM tidings.cursor d USING (
    SELECT o.channel, o.device FROM tidings.cursor o
    WHERE o.channel > p_after AND o.channel <= v_last AND o.expires <= v_now FOR UPDATE SKIP LOCKED
  ) AS old
  WHERE d.channel = old.channel AND d.device = old.device;
  RETURN v_last;
END
$$;
