-- What devices have acknowledged (postgres-devices.ts).

CREATE TABLE tidings.cursor (
  channel bigint NOT NULL,
  device text COLLATE "C" NOT NULL,
  epoch text NOT NULL,
  number bigint NOT NULL,
  id text NOT NULL,
  expires bigint NOT NULL,
  PRIMARY KEY (channel, device)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- Moves cursors forward, and rings for those that have moved. What was never sent can't have been received: such a position
-- moves nothing. A message that is not kept any more is believed.
CREATE FUNCTION tidings.acknowledge(
  p_names text[], p_devices text[], p_epochs text[], p_numbers bigint[], p_ids text[], p_ttl bigint, p_most int
) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  v_now bigint := tidings.clock();
  v record;
BEGIN
  -- In one order, whoever comes: so nobody waits for somebody who waits.
  FOR v IN
    SELECT c.key, c.name, g.device, g.epoch, g.number, g.id
    FROM unnest(p_names, p_devices, p_epochs, p_numbers, p_ids) AS g (name, device, epoch, number, id)
    JOIN tidings.channel c ON c.name = g.name AND c.epoch = g.epoch AND g.number BETWEEN 1 AND c.number
    WHERE coalesce((SELECT m.id FROM tidings.message m WHERE m.channel = c.key AND m.number = g.number), g.id) = g.id
      AND (g.number < c.number OR g.id = c.id)
    ORDER BY c.key, g.device COLLATE "C", g.number
  LOOP
    INSERT INTO tidings.cursor AS d (channel, device, epoch, number, id, expires)
    VALUES (v.key, v.device, v.epoch, v.number, v.id, v_now + p_ttl)
    ON CONFLICT (channel, device) DO UPDATE
      SET epoch = excluded.epoch, number = excluded.number, id = excluded.id, expires = excluded.expires
      WHERE d.expires <= v_now OR d.epoch <> excluded.epoch OR d.number < excluded.number;
    CONTINUE WHEN NOT FOUND;
    -- Devices come and go, and anybody can make them up: the one that was heard of least lately makes room.
    IF (SELECT count(*) FROM tidings.cursor d WHERE d.channel = v.key) > p_most THEN
      DELETE FROM tidings.cursor d USING (
        SELECT o.device FROM tidings.cursor o WHERE o.channel = v.key ORDER BY o.device = v.device DESC, o.expires DESC OFFSET p_most
      ) AS old
      WHERE d.channel = v.key AND d.device = old.device;
    END IF;
    PERFORM tidings.ring('a ' || tidings.escaped(v.name) || E'\n' || v.epoch || ' ' || v.number || ' ' || v.id || ' ' || v.device);
  END LOOP;
END
$$;

-- The cursors of a channel, as JSON: [[device, epoch, number, id], …].
CREATE FUNCTION tidings.cursors(p_channel bigint) RETURNS json LANGUAGE plpgsql STABLE
AS $$
BEGIN
  RETURN (
    SELECT coalesce(json_agg(json_build_array(d.device, d.epoch, d.number, d.id)), '[]') FROM tidings.cursor d
    WHERE d.channel = p_channel AND d.expires > tidings.clock()
  );
END
$$;

-- What pages need that open on these channels. Nothing is locked, and nothing written. `marked` is NULL where something has to
-- be put right first.
CREATE FUNCTION tidings.opening(p_names text[], p_knowns text[], p_versions text[], p_idle bigint)
RETURNS TABLE (place int, epoch text, number bigint, id text, marked text, cursors json) LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY SELECT g.place::int, coalesce(c.epoch, tidings.unused(p_idle)), coalesce(c.number, 0), coalesce(c.id, ''),
    CASE
      WHEN c.key IS NULL AND tidings.has_lost(g.known) THEN NULL
      WHEN c.key IS NULL THEN ''
      WHEN tidings.is_due(c, g.known) OR (m.channel IS NOT NULL AND tidings.lacks(m, g.version)) THEN NULL
      ELSE tidings.marked(c)
    END,
    CASE WHEN c.key IS NULL THEN '[]' ELSE tidings.cursors(c.key) END
  FROM unnest(p_names, p_knowns, p_versions) WITH ORDINALITY AS g (name, known, version, place)
  LEFT JOIN tidings.channel c ON c.name = g.name
  LEFT JOIN tidings.marks m ON m.channel = c.key;
END
$$;
