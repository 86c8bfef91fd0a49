#!/bin/sh
# Before pgAdmin's own entry point: its certificate, its password, and its configuration in a place that can be written.
#
# PGADMIN_ENABLE_TLS           empty, FALSE, NO, OFF or 0: HTTP; anything else: HTTPS
# SSL_CERT_PEM, SSL_KEY_PEM    certificate (with its chain) and key, PEM text; one of them empty: self-signed, made once
# PGADMIN_DEFAULT_PASSWORD     empty: that of PGADMIN_DEFAULT_PASSWORD_FILE
#
# The folders can be told for tests.
set -eu
umask 077
state=${PGADMIN_STATE:-/var/lib/pgadmin}     # stays over restarts
certs=${PGADMIN_CERTS:-/certs}               # where pgAdmin looks
python=${PGADMIN_PYTHON:-/venv/bin/python3}  # the image's, which has the library that makes certificates
next=${PGADMIN_ENTRYPOINT:-/entrypoint.sh}
here=$(dirname "$0")

case $(printf '%s' "${PGADMIN_ENABLE_TLS:-}" | tr '[:lower:]' '[:upper:]') in
    "" | FALSE | NO | OFF | 0)
        unset PGADMIN_ENABLE_TLS # pgAdmin takes any text for yes
        ;;
    *)
        if [ -n "${SSL_CERT_PEM:-}" ] && [ -n "${SSL_KEY_PEM:-}" ]; then
            printf '%s\n' "$SSL_CERT_PEM" >"$certs/server.cert"
            printf '%s\n' "$SSL_KEY_PEM" >"$certs/server.key"
        else
            echo "SSL_CERT_PEM or SSL_KEY_PEM is empty: browsers will warn about a self-signed certificate" >&2
            mkdir -p "$state/certificate"
            "$python" "$here/certificate.py" "$state/certificate"
            cp "$state/certificate/server.cert" "$state/certificate/server.key" "$certs/"
        fi
        ;;
esac
unset SSL_CERT_PEM SSL_KEY_PEM

if [ -n "${PGADMIN_DEFAULT_PASSWORD:-}" ]; then
    unset PGADMIN_DEFAULT_PASSWORD_FILE # pgAdmin refuses both
else
    unset PGADMIN_DEFAULT_PASSWORD
fi

# pgAdmin fills this file from PGADMIN_CONFIG_… when it is there and empty: so at every start.
if [ -n "${PGADMIN_CUSTOM_CONFIG_DISTRO_FILE:-}" ]; then
    : >"$PGADMIN_CUSTOM_CONFIG_DISTRO_FILE"
fi

exec "$next" "$@"
