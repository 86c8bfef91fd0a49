#!/bin/sh
# Runs Mosquitto with the configuration beside this file, and tells it (SIGHUP) when the set-up wrote something new.
# `run.sh health` asks a running one whether it is well.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/sbin
folder=$(cd "$(dirname "$0")" && pwd)

if [ "${1:-}" = health ]; then
    XDG_CONFIG_HOME=$folder/health exec mosquitto_sub
fi

certificate=$folder/certs/server.pem
contents() {
    sha256sum "$folder/passwd" "$folder/acl" && { [ ! -e "$certificate" ] || sha256sum "$certificate"; }
}

# Mosquitto takes this process's place below, so this process is what the watch tells. It tells when the files stood
# still for one look: users, rules and certificate are written one after the other.
watch() {
    told=$1
    before=$1
    while sleep "${WATCH_SECONDS:-5}"; do
        kill -0 "$$" 2>/dev/null || exit 0
        now=$(contents) || continue
        if [ "$now" = "$before" ] && [ "$now" != "$told" ]; then
            told=$now
            kill -HUP "$$"
        fi
        before=$now
    done
}

first=$(contents)
watch "$first" &
exec mosquitto -c "$folder/mosquitto.conf"
