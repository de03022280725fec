#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs the user's command in its own image for the host in the pod's other container, which calls with forward.py.
# Usage: serve.sh DIRECTORY COMMAND [CALL]: the directory of FIFOs that the containers share, and the file with the command. With
# a call, this takes its place.
#
# A FIFO is first opened for both directions: an open for one waits for the other end, which may be gone.
# From a command's start to its end, this starts no process: the command may have used up all of them.

directory=$1
program=$2

# One simple command is run by `sh -c` without another process, so that a signal is its own and the shell does not end first.
if [ $# = 3 ]; then
    call=$directory/$3
    exec 7<>"$call/in" 8<>"$call/out" 9<>"$call/err"
    exec <"$call/in" >"$call/out" 2>"$call/err" 7>&- 8>&- 9>&-
    # shellcheck source=/dev/null
    . "$call/environment"
    text=
    while IFS= read -r line || [ -n "$line" ]; do
        text="${text:+$text
}$line"
    done <"$program"
    exec /bin/sh -c "$text"
fi

stopping=
interrupted=

# A group of its own for the command, so that signals reach all of it.
if command -v setsid >/dev/null 2>&1; then session=setsid; else session=''; set -m 2>/dev/null; fi

send() {
    kill -s "$1" -- "-$pid" 2>/dev/null || kill -s "$1" "$pid" 2>/dev/null # it may have no group yet
}

# Passes on the forwarder's signals. Its end of file is the forwarder's end: after SIGKILL, or with the host.
watch() {
    while read -r signal; do send "$signal"; done
    send KILL
}

# As process 1, this is the parent of all orphans, and the signal to all others reaches what left the group. `jobs` makes a shell
# reap them; zombies would count against the limit of processes.
end_all() {
    kill -s KILL -- "-$pid" 2>/dev/null
    kill -s KILL "$watcher" 2>/dev/null
    wait "$watcher" 2>/dev/null
    [ $$ = 1 ] || return
    while jobs >/dev/null 2>&1; kill -s KILL -- -1 2>/dev/null; do sleep 0.1 2>/dev/null || sleep 1; done
}

# Its descriptors: 5 for the signals, 6 for the status, which tells the forwarder by its end of file that this is gone.
serve() {
    read -r word <&5 && [ "$word" = RUN ] || return # the forwarder is gone
    $session /bin/sh "$0" "$directory" "$program" "$1" 3<&- 5<&- 6>&- &
    pid=$!
    watch <&5 3<&- 5<&- 6>&- &
    watcher=$!
    echo started >&6
    interrupted=
    wait "$pid" 2>/dev/null
    status=$?
    while [ -n "$interrupted" ]; do
        interrupted=
        wait "$pid" 2>/dev/null
        again=$?
        [ "$again" = 127 ] || status=$again # 127: known already
    done
    end_all
    echo "$status" >&6
}

# The kubelet sends SIGTERM to all containers of a pod at once; the host still completes its task, and then ends.
trap 'stopping=1 interrupted=1' TERM
until [ -p "$directory/calls" ]; do
    [ -z "$stopping" ] || exit 0
    sleep 1
done
exec 4<>"$directory/calls"
exec 3<"$directory/calls" 4>&-
while :; do
    interrupted=
    if read -r name <&3; then
        case $name in call-*/* | call-*[!_a-z0-9]*) continue ;; call-*) ;; *) continue ;; esac # the command can write here too
        call=$directory/$name
        if [ -p "$call/control" ]; then
            # `command`: a forwarder that ends just now has removed them, which must not end this.
            command exec 4<>"$call/control" 6<>"$call/status" && command exec 5<"$call/control" 4>&- && serve "$name"
            exec 4>&- 5<&- 6>&-
        fi
        rm -rf -- "$call" # as the forwarder does, if it could
    elif [ -n "$interrupted" ]; then
        continue # the signal ended the read, and not the host
    elif [ -n "$stopping" ]; then
        exit 0
    else
        sleep 1 # the host is not there
    fi
done
