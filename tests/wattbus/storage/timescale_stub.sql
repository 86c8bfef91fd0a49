-- A PostgreSQL that looks like one with TimescaleDB: its catalogue and its functions as far as the store uses them, with
-- the names, arguments and defaults of TimescaleDB 2 (its documentation; sql/ddl_api.sql, sql/policy_api.sql,
-- sql/views.sql). They write down how they were called, and chunks are no more than rows of a list.
CREATE TABLE calls (n serial, call text);
CREATE TABLE edition (has_policies boolean);
INSERT INTO edition VALUES (true);

CREATE VIEW pg_available_extensions AS SELECT 'timescaledb'::name AS name, '2.17.2'::text AS installed_version;

CREATE SCHEMA timescaledb_information;
CREATE TABLE timescaledb_information.hypertables (hypertable_schema name, hypertable_name name);
CREATE TABLE timescaledb_information.chunks
  (hypertable_schema name, hypertable_name name, range_start_integer bigint, range_end_integer bigint);
CREATE TABLE timescaledb_information.jobs
  (proc_name name, hypertable_schema name, hypertable_name name, config jsonb);

CREATE FUNCTION create_hypertable(
  relation regclass, time_column_name name, partitioning_column name = NULL, number_partitions integer = NULL,
  associated_schema_name name = NULL, associated_table_prefix name = NULL,
  chunk_time_interval anyelement = NULL::bigint, create_default_indexes boolean = true, if_not_exists boolean = false,
  partitioning_func regproc = NULL, migrate_data boolean = false, chunk_target_size text = NULL,
  chunk_sizing_func regproc = NULL, time_partitioning_func regproc = NULL
) RETURNS TABLE (hypertable_id int, schema_name name, table_name name, created boolean) LANGUAGE plpgsql AS $$
DECLARE rows bigint;
BEGIN
  EXECUTE format('SELECT count(*) FROM %s', relation) INTO rows;
  IF rows > 0 AND NOT migrate_data THEN RAISE EXCEPTION 'table "%" is not empty', relation; END IF;
  IF EXISTS (
    SELECT FROM pg_index AS i WHERE i.indrelid = relation AND i.indisunique AND NOT EXISTS (
      SELECT FROM pg_attribute AS a
      WHERE a.attrelid = relation AND a.attnum = ANY (i.indkey) AND a.attname = time_column_name)
  ) THEN RAISE EXCEPTION 'cannot create a unique index without the column "%"', time_column_name; END IF;
  INSERT INTO calls (call) VALUES (format('create_hypertable %s by %s, chunks of %s %s, default indexes %s', relation,
    time_column_name, chunk_time_interval, pg_typeof(chunk_time_interval), create_default_indexes));
  INSERT INTO timescaledb_information.hypertables VALUES (current_schema(), relation::text);
  RETURN QUERY SELECT 1, current_schema(), relation::text::name, true;
END $$;

CREATE FUNCTION set_integer_now_func(hypertable regclass, integer_now_func regproc, replace_if_exists boolean = false)
RETURNS void LANGUAGE sql AS
$$ INSERT INTO calls (call) VALUES (format('set_integer_now_func %s %s', hypertable, integer_now_func)) $$;

CREATE FUNCTION add_compression_policy(
  hypertable regclass, compress_after anyelement, if_not_exists boolean = false, schedule_interval interval = NULL
) RETURNS integer LANGUAGE sql AS
$$ INSERT INTO calls (call) VALUES
  (format('add_compression_policy %s %s %s', hypertable, compress_after, pg_typeof(compress_after))) RETURNING n $$;

CREATE FUNCTION add_retention_policy(
  relation regclass, drop_after anyelement, if_not_exists boolean = false, schedule_interval interval = NULL
) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
  IF NOT (SELECT has_policies FROM edition) THEN
    RAISE EXCEPTION 'functionality not supported under the current "apache" license' USING ERRCODE = '0A000';
  END IF;
  IF EXISTS (SELECT FROM timescaledb_information.jobs WHERE hypertable_name = relation::text) THEN
    RAISE EXCEPTION 'retention policy already exists for hypertable "%"', relation;
  END IF;
  INSERT INTO calls (call)
    VALUES (format('add_retention_policy %s %s %s', relation, drop_after, pg_typeof(drop_after)));
  INSERT INTO timescaledb_information.jobs
    VALUES ('policy_retention', current_schema(), relation::text, jsonb_build_object('drop_after', drop_after));
  RETURN 1000;
END $$;

CREATE FUNCTION remove_retention_policy(relation regclass, if_exists boolean = false)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF NOT if_exists AND NOT EXISTS (SELECT FROM timescaledb_information.jobs WHERE hypertable_name = relation::text) THEN
    RAISE EXCEPTION 'retention policy not found for hypertable "%"', relation;
  END IF;
  INSERT INTO calls (call) VALUES (format('remove_retention_policy %s', relation));
  DELETE FROM timescaledb_information.jobs WHERE hypertable_name = relation::text;
END $$;

CREATE FUNCTION drop_chunks(
  relation regclass, older_than anyelement = NULL::bigint, newer_than anyelement = NULL::bigint, verbose boolean = false
) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE last_end bigint;
BEGIN
  INSERT INTO calls (call) VALUES (format('drop_chunks %s %s %s', relation, older_than, pg_typeof(older_than)));
  SELECT max(range_end_integer) INTO last_end FROM timescaledb_information.chunks
    WHERE hypertable_name = relation::text AND range_end_integer <= older_than;
  IF last_end IS NULL THEN RETURN; END IF;
  EXECUTE format('DELETE FROM %s WHERE time < %s', relation, last_end);
  DELETE FROM timescaledb_information.chunks WHERE hypertable_name = relation::text AND range_end_integer <= last_end;
END $$;

CREATE FUNCTION hypertable_size(hypertable regclass) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE rows bigint;
BEGIN
  EXECUTE format('SELECT count(*) FROM %s', hypertable) INTO rows;
  RETURN rows * 100;
END $$;
