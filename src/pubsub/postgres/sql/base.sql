-- What all other files need. `tidings.` is the schema in all of them, whatever its name; see schema.ts.
--
-- In SQL are only functions that become part of the statement that calls them: others are planned for each call, and are in
-- PL/pgSQL, which keeps its plans. They run with the settings of whoever calls them: a backslash stands in E'' only, as
-- standard_conforming_strings may be off.

CREATE TABLE tidings.store (
  is_one boolean PRIMARY KEY DEFAULT true CHECK (is_one),
  -- Four characters: which store this is (epochs.ts).
  origin text NOT NULL,
  -- The channel for NOTIFY. Whoever may connect to a database may listen to all channels whose name he knows, and notify on
  -- them, whatever else he may not: so this one can't be guessed, and is read by nobody but instances.
  bell text NOT NULL
);

-- Milliseconds since 1970, as all times here.
CREATE FUNCTION tidings.clock() RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE
AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- Unguessable text in base64url, of 1 to 12 bytes by chance: those of a random UUID that are nothing else. It begins with no
-- hyphen, which a command line would take for an option.
CREATE FUNCTION tidings.random_id(p_bytes int) RETURNS text LANGUAGE plpgsql VOLATILE PARALLEL SAFE
AS $$
DECLARE
  b bytea := uuid_send(gen_random_uuid());
BEGIN
  RETURN regexp_replace(
    translate(encode(substr(substr(b, 1, 6) || substr(b, 8, 1) || substr(b, 10, 5), 1, p_bytes), 'base64'), '+/=', '-_'),
    '^-', '0');
END
$$;

-- Rings on the one channel that all instances listen to, when the transaction commits. The first word says what it is.
CREATE FUNCTION tidings.ring(p_payload text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
  PERFORM pg_notify(bell, p_payload) FROM tidings.store;
END
$$;

-- A name for the first line of what is rung: without line breaks.
CREATE FUNCTION tidings.escaped(p_name text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT replace(replace(p_name, E'\\', E'\\\\'), E'\n', E'\\n') $$;

-- Hands bytes to whoever is subscribed at this moment; nothing is kept. More of them than one notification takes come in parts.
CREATE FUNCTION tidings.notify(p_channel text, p_payload bytea) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  v_text text := translate(encode(p_payload, 'base64'), E'\n', '');
  v_head text := 't ' || tidings.escaped(p_channel) || E'\n';
  v_size int := 7900 - 60 - octet_length(v_head);
  v_parts int := greatest(1, ceil(length(v_text)::numeric / v_size));
  v_id text := tidings.random_id(6);
BEGIN
  FOR v_part IN 1 .. v_parts LOOP
    PERFORM tidings.ring(v_head || v_id || ' ' || v_part || ' ' || v_parts || ' ' || substr(v_text, (v_part - 1) * v_size + 1, v_size));
  END LOOP;
END
$$;

INSERT INTO tidings.store (origin, bell) VALUES (tidings.random_id(3), 'tidings' || '.' || tidings.random_id(9));
