#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs the user's command in its own image for the host in the pod's other container, which calls with forward.py.
# Usage: serve.sh DIRECTORY COMMAND [CALL]: the directory of FIFOs that the containers share, and the file with the
# command. With a call, this becomes the command.
#
# A FIFO is first opened for both directions: an open for one waits for the other end, which may be gone.
# While a command runs and until all of it is killed, this starts no process: there may be none left to start.

directory=$1
program=$2

if [ $# = 3 ]; then
    call=$directory/$3
    echo $$ >"$call/group"
    echo started >&6
    exec 7<>"$call/in" 8<>"$call/out" 9<>"$call/err"
    exec <"$call/in" >"$call/out" 2>"$call/err" 6>&- 7>&- 8>&- 9>&-
    # shellcheck source=/dev/null
    . "$call/environment"
    text=
    while IFS= read -r line || [ -n "$line" ]; do
        text="${text:+$text
}$line"
    done <"$program"
    # As the host does.
    exec /bin/sh -c -- "$text"
fi

# A group of its own for the command, so that signals reach all of it.
if command -v setsid >/dev/null 2>&1; then session=setsid; else session=''; fi

# dash wants -- before the number of a group, and busybox takes it for a process that does not exist.
if kill -s 0 -- $$ 2>/dev/null; then dashes=--; else dashes=''; fi

send() {
    read -r group <"$call/group" || return
    kill -s "$1" $dashes "-$group" || kill -s "$1" "$group" # a shell without setsid and terminal may make no groups
}

# As process 1, this reaches what has left the group too.
kill_all() {
    if [ $$ = 1 ]; then kill -s KILL $dashes -1; else send KILL; fi
}

# Passes on the forwarder's signals. Its end of file is the forwarder's end: after SIGKILL, or with the host.
watch() {
    while read -r signal; do send "$signal"; done
    until kill_all; do :; done # the command is about to begin
}

# Process 1 is the parent of all orphans. `jobs` makes a shell reap them; zombies count against the limit of processes.
end_all() {
    kill -s KILL "$watcher"
    wait "$watcher"
    while jobs; kill_all && [ $$ = 1 ]; do sleep 0.1 || sleep 1; done
}

# Its descriptors: 5 for the signals, 6 for the status, which tells the forwarder by its end of file that this is gone.
# The command is in the foreground, since what a shell starts in the background ignores SIGINT.
serve() {
    read -r word <&5 && [ "$word" = RUN ] || return # the forwarder is gone
    watch <&5 3<&- 5<&- 6>&- &
    watcher=$!
    [ -n "$session" ] || set -m
    $session /bin/sh "$0" "$directory" "$program" "$1" 3<&- 5<&-
    status=$?
    set +m
    # Its shell has ended with SIGTERM; the rest of the group may handle it until the forwarder is killed.
    while [ $status = 143 ] && send 0; do sleep 0.1 || sleep 1; done
    end_all
    echo "$status" >&6
} >/dev/null 2>&1

# The kubelet sends SIGTERM to all containers of a pod at once; the host still completes its task, and then ends.
stopping=
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
        # The command can write to this FIFO too.
        case $name in call-*[!_a-z0-9]*) continue ;; call-*) call=$directory/$name ;; *) continue ;; esac
        if [ -p "$call/control" ]; then
            # `command`: a forwarder that ends just now has removed them, which must not end this.
            command exec 4<>"$call/control" 6<>"$call/status" && command exec 5<"$call/control" 4>&- && serve "$name"
            exec 4>&- 5<&- 6>&-
        fi
        rm -rf -- "$call" # as the forwarder does, if it can
    elif [ -n "$interrupted" ]; then
        continue # the signal ended the read, and not the host
    elif [ -n "$stopping" ]; then
        exit 0
    else
        sleep 1 # the host is not there
    fi
done
