-- Run by the superuser. It may be run again at any time.
\getenv owner_password OWNER_PASSWORD
\getenv reader_password READER_PASSWORD
SET client_min_messages = warning;
SET log_min_error_statement = panic; -- no password in the log
SET password_encryption = 'scram-sha-256';

SELECT format('CREATE ROLE %I LOGIN', role)
FROM unnest(ARRAY['wattbus', 'wattbus_reader']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec
ALTER ROLE wattbus WITH NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'owner_password';
ALTER ROLE wattbus_reader WITH NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'reader_password';
ALTER ROLE wattbus_reader SET default_transaction_read_only = on;
ALTER ROLE wattbus_reader SET statement_timeout = '60s'; -- a dashboard must not keep the database from its work

-- Whatever the cluster was made with: every text fits, and no index depends on the C library's sort order, which changes
-- between images.
SELECT 'CREATE DATABASE wattbus OWNER wattbus ENCODING ''UTF8'' LOCALE ''C'' TEMPLATE template0'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'wattbus') \gexec

-- Nobody else gets in, and only the owner makes tables. What is there, and what the owner will make, may be read.
REVOKE ALL ON DATABASE wattbus FROM PUBLIC;
GRANT CONNECT ON DATABASE wattbus TO wattbus_reader;
\connect -reuse-previous=on wattbus
SET client_min_messages = warning;
ALTER SCHEMA public OWNER TO wattbus;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO wattbus_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO wattbus_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE wattbus IN SCHEMA public GRANT SELECT ON TABLES TO wattbus_reader;

-- TimescaleDB, where the image has it; a newer image brings a newer version of it.
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb') AS available \gset
\if :available
CREATE EXTENSION IF NOT EXISTS timescaledb;
\connect -reuse-previous=on wattbus
ALTER EXTENSION timescaledb UPDATE; -- must be the first statement of its session
\endif
