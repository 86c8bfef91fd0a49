#!/usr/bin/env bash
# Build the image of one service, or of all. That service's tests come first, and must pass.
set -euo pipefail
root=$(dirname "$(readlink -f "$0")")

usage() {
    cat <<'END'
Usage: ./build_docker_image.sh [OPTION…] [SERVICE…] [-- OPTIONS OF docker build…]

Runs the tests of each SERVICE and of what it shares with others, then builds its image. Without SERVICE: all of them.
Each image comes with a bill of materials (CycloneDX 1.6, JSON): in it, and as FOLDER/SERVICE.cdx.json.

  --tag TAG          tag of the images (default: latest); may be given several times
  --prefix PREFIX    what stands before the service's name: registry.example/wattbus (default: wattbus)
  --platform LIST    for other machines: linux/arm64 (a Raspberry Pi with a 64 bit system); several: separated by commas
  --push             push the images; several platforms at once need it
  --skip-tests       build what nobody has tested
  --sbom FOLDER      where the bills of materials go (default: build/sbom in this project)
  --list             list the services

From the environment: PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_TRUSTED_HOST (where packages come from), PIP_CONFIG_FILE
(a pip.conf with passwords in it; no image keeps it), BASE_IMAGE, BUILD_PACKAGES (see Dockerfile).
END
}

complain() {
    printf '%s\n' "$*" >&2
}

services() {
    (cd "$root" && python3 containers/contents.py services)
}

# The folders of tests that stand for a service: its own, the shared library's, and the shared transports'.
tests_of() {
    local service=$1 folder
    for folder in "tests/$service" "tests/connectors/$service" tests/wattbus tests/links; do
        [[ ! -d $root/$folder ]] || printf '%s\n' "$folder"
    done
}

test_services() {
    local folders
    mapfile -t folders < <(for service in "$@"; do tests_of "$service"; done | sort -u)
    complain "Testing: ${folders[*]}"
    (cd "$root" && ./test "${folders[@]}") || {
        complain "The tests failed: no image is built."
        exit 1
    }
}

build() {
    local service=$1 tag variable options=()
    for tag in "${tags[@]}"; do
        options+=(--tag "$prefix/$service:$tag")
    done
    for variable in BASE_IMAGE BUILD_PACKAGES PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST; do
        [[ -z ${!variable:-} ]] || options+=(--build-arg "$variable=${!variable}")
    done
    [[ ! -f ${PIP_CONFIG_FILE:-} ]] || options+=(--secret "id=pip_conf,src=$PIP_CONFIG_FILE")
    [[ -z $platform ]] || options+=(--platform "$platform")
    [[ -z $push ]] || options+=(--push)
    complain "Building $prefix/$service:${tags[0]}"
    docker build "${options[@]}" --build-arg "SERVICE=$service" "${further[@]}" "$root"
}

# Out of the image itself: it was made there, of what is there.
take_bill() {
    local service=$1 image=$prefix/$1:${tags[0]} container options=()
    [[ -z $platform || $platform == *,* ]] || options=(--platform "$platform")
    mkdir -p "$bills"
    container=$(docker create "${options[@]}" "$image")
    docker cp --quiet "$container:/usr/local/share/wattbus/sbom.cdx.json" "$bills/$service.cdx.json"
    docker rm "$container" >/dev/null
    complain "Its bill of materials: $bills/$service.cdx.json"
}

tags=() prefix=wattbus platform="" push="" bills=$root/build/sbom tested=yes wanted=() further=()
while [[ $# -gt 0 ]]; do
    case "$1" in
        --tag) tags+=("${2:?--tag needs a TAG}"); shift ;;
        --prefix) prefix=${2:?--prefix needs a PREFIX}; shift ;;
        --platform) platform=${2:?--platform needs a LIST}; shift ;;
        --push) push=yes ;;
        --skip-tests) tested="" ;;
        --sbom) bills=${2:?--sbom needs a FOLDER}; shift ;;
        --list) services; exit ;;
        -h | --help) usage; exit ;;
        --) shift; further=("$@"); break ;;
        -*) complain "There is no option $1"; usage >&2; exit 2 ;;
        *) wanted+=("${1//-/_}") ;;
    esac
    shift
done
[[ ${#tags[@]} -gt 0 ]] || tags=(latest)

mapfile -t known < <(services)
[[ ${#wanted[@]} -gt 0 ]] || wanted=("${known[@]}")
for service in "${wanted[@]}"; do
    if [[ " ${known[*]} " != *" $service "* ]]; then
        complain "There is no service $service (there are: ${known[*]})"
        exit 2
    fi
done
if [[ -n $platform && $platform == *,* && -z $push ]]; then
    complain "Images for several platforms cannot lie in the local store: add --push, or name one platform."
    exit 2
fi

if [[ -n $tested ]]; then
    test_services "${wanted[@]}"
else
    complain "WARNING: nobody has tested what is built now (--skip-tests)."
fi
for service in "${wanted[@]}"; do
    build "$service"
    take_bill "$service"
done
