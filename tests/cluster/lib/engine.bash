# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The Docker engine: installed where it is missing, started where none answers.

engine_answers() { docker info >/dev/null 2>&1; }

apt_install() {
    as_root apt-get update -qq -o DPkg::Lock::Timeout=600
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q -o DPkg::Lock::Timeout=600 "$@"
}

# need_packages COMMAND=PACKAGE…: installs the packages whose command is missing.
need_packages() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} = 0 ] || step "installing ${missing[*]}" apt_install "${missing[@]}"
}

# Root without CAP_SYS_RESOURCE (bit 24) cannot start a privileged container as it is.
lacks_sys_resource() { (((0x$(sed -n 's/^CapBnd:\t//p' /proc/self/status) >> 24 & 1) == 0)); }

# A machine that was switched off leaves pid files behind, whose numbers may be other processes' by now.
remove_stale_pid() { # FILE PROGRAM
    [ ! -f "$1" ] || [ "$(cat "/proc/$(cat "$1")/comm" 2>/dev/null)" = "$2" ] || as_root rm -f "$1"
}

start_engine() {
    if [ -d /run/systemd/system ]; then
        as_root systemctl start docker
    else
        remove_stale_pid /var/run/docker.pid dockerd
        remove_stale_pid /var/run/docker/containerd/containerd.pid containerd
        local arguments=()
        if lacks_sys_resource; then
            need_go
            runc_wrapper
            arguments=(--add-runtime "lab=$bin/runc-wrapper" --default-runtime lab)
        fi
        # With the system's PATH: an engine that found the node's containerd-shim in $bin would break on it.
        as_root setsid nohup dockerd "${arguments[@]}" >"$logs/dockerd.log" 2>&1 </dev/null 9>&- &
    fi
    local _
    for _ in $(seq 60); do
        engine_answers && return
        sleep 1
    done
    echo "The Docker engine does not answer after a minute; it said in $logs/dockerd.log:" >&2
    tail -n 10 "$logs/dockerd.log" >&2
    return 1
}

engine() {
    engine_answers && return
    [ -z "${DOCKER_HOST:-}" ] || die "No Docker engine answers at DOCKER_HOST=$DOCKER_HOST: start it, or unset the variable."
    need_packages docker=docker.io dockerd=docker.io iptables=iptables
    step "starting the Docker engine" start_engine
}
