# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Progress lines, failures, the lock.

say() { printf 'cluster: %d:%02d %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*" >&2; }
die() { echo "cluster: $*" >&2; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# step WHAT COMMAND…: runs a command or function with its output in a log; shows the log's end where it fails.
step() {
    local what="$1" log started=$SECONDS ticker status
    shift
    log="$logs/$(tr -cs 'A-Za-z0-9.\n' - <<<"${what:0:80}" | sed 's/-$//').log"
    say "$what"
    (while sleep 30 >/dev/null 2>&1 && kill -0 $$; do say "… still $what"; done) 9>&- &
    ticker=$!
    # Not in a condition: there, errexit would be off inside the command.
    set +e
    (set -e; "$@") >"$log" 2>&1 </dev/null
    status=$?
    set -e
    kill "$ticker" 2>/dev/null
    wait "$ticker" 2>/dev/null || true
    if [ $status != 0 ]; then
        echo "cluster: $what failed with status $status. The end of $log:" >&2
        tail -n 20 "$log" | cut -c1-400 >&2
        exit 1
    fi
    ((SECONDS - started < 10)) || say "… done in $((SECONDS - started)) s"
}

# One `cluster` at a time works on a cache; the others wait for it.
locked() {
    [ -z "${lock_is_held:-}" ] || return 0
    lock_is_held=yes
    exec 9>"$cache/lock"
    flock -n 9 && return 0
    say "waiting for another \`cluster\` that works on $cache"
    flock 9
}
