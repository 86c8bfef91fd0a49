#!/bin/sh
# database.sh           database, roles and rights, at every start: what is there stays, passwords follow the secrets
# database.sh backup    everything in the database, to standard output
# database.sh restore   a backup, from standard input, in place of what is there
set -eu
secrets=/run/secrets/database

PGHOST=database PGUSER=postgres PGPASSWORD=$(cat "$secrets/superuser_password")
OWNER_PASSWORD=$(cat "$secrets/password")
READER_PASSWORD=$(cat "$secrets/reader_password")
export PGHOST PGUSER PGPASSWORD OWNER_PASSWORD READER_PASSWORD # not as arguments, which every process may read

ask() {
    psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 "$@"
}

set_up() {
    ask --dbname postgres --file "$(dirname "$0")/setup.sql"
}

# TimescaleDB wants to be told before and after its tables are filled from outside (its manual: logical backup).
tell_timescaledb() {
    if [ "$(ask --dbname wattbus --command "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'")" = 1 ]; then
        ask --dbname wattbus --command "SELECT $1()" >/dev/null
    fi
}

case "${1:-}" in
    "")
        set_up
        ;;
    backup)
        exec pg_dump --format=custom --dbname=wattbus
        ;;
    restore)
        ask --dbname postgres --command "DROP DATABASE IF EXISTS wattbus WITH (FORCE)"
        set_up
        tell_timescaledb timescaledb_pre_restore
        pg_restore --exit-on-error --dbname=wattbus
        tell_timescaledb timescaledb_post_restore
        set_up # rights on what has come
        ;;
    *)
        sed -n '2,4p' "$0" >&2
        exit 2
        ;;
esac
