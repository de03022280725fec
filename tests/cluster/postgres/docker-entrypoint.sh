#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The contract of the official image's entrypoint: POSTGRES_PASSWORD, _USER, _DB (each also as _FILE), POSTGRES_INITDB_ARGS,
# POSTGRES_HOST_AUTH_METHOD, PGDATA and /docker-entrypoint-initdb.d, as root (which it gives up) or as uid 70 from the start.
set -Eeuo pipefail

fail() { echo "error: $*" >&2; exit 1; }

from_file() { # NAME [DEFAULT]: sets NAME from NAME_FILE or to the default
    local name="$1" file="$1_FILE"
    [ -z "${!name:-}" ] || [ -z "${!file:-}" ] || fail "both $name and $file are set (but are exclusive)"
    if [ -n "${!file:-}" ]; then export "$name=$(<"${!file}")"; else export "$name=${!name:-${2:-}}"; fi
    unset "$file"
}

run_sql() { psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --no-password "$@"; }

initialise() {
    local method file
    if [ -z "$POSTGRES_PASSWORD" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
        fail "Database is uninitialized and superuser password is not specified. Set POSTGRES_PASSWORD to a non-empty value."
    fi
    # The socket's compiled-in directory is /tmp.
    read -ra initdb_options <<<"${POSTGRES_INITDB_ARGS:-}"
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") \
        --set unix_socket_directories=/var/run/postgresql "${initdb_options[@]}"
    method="${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption)}"
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"

    # The server of the set-up listens on the socket only, so that nobody takes it for the database.
    PGUSER="$POSTGRES_USER" pg_ctl -w start -o "-c listen_addresses='' -p 5432"
    export PGPASSWORD="$POSTGRES_PASSWORD"
    if [ "$POSTGRES_DB" != postgres ]; then
        run_sql --dbname postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
    fi
    for file in /docker-entrypoint-initdb.d/*; do
        echo "$0: running $file"
        # shellcheck source=/dev/null
        case "$file" in
            *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
            *.sql) run_sql --dbname "$POSTGRES_DB" -f "$file" ;;
            *.sql.gz) gunzip -c "$file" | run_sql --dbname "$POSTGRES_DB" ;;
            *) echo "$0: ignoring $file" ;;
        esac
    done
    unset PGPASSWORD
    pg_ctl -m fast -w stop
    echo "PostgreSQL init process complete; ready for start up."
}

case "${1:-}" in -*) set -- postgres "$@" ;; esac

if [ "${1:-}" = postgres ]; then
    if [ "$(id -u)" = 0 ]; then
        mkdir -p "$PGDATA"
        chmod 700 "$PGDATA"
        chown -R 70:70 "$PGDATA" /var/run/postgresql
        exec setpriv --reuid=70 --regid=70 --clear-groups "$0" "$@"
    fi
    mkdir -p "$PGDATA"
    chmod 700 "$PGDATA" || true
    if [ -s "$PGDATA/PG_VERSION" ]; then
        echo "PostgreSQL Database directory appears to contain a database; Skipping initialization"
    else
        shopt -s nullglob
        from_file POSTGRES_PASSWORD
        from_file POSTGRES_USER postgres
        from_file POSTGRES_DB "$POSTGRES_USER"
        from_file POSTGRES_INITDB_ARGS
        initialise
    fi
fi
exec "$@"
