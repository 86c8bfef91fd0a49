# Sourced by ./demo and ./test: Debian packages, the virtual environment, the project in it. Expects `root`.

PATH="$PATH:/usr/sbin:/usr/local/sbin" # where Debian has mosquitto
export PATH
venv="$root/.venv"

complain() {
    printf '%s\n' "$*" >&2
}

# The newest Python from 3.11 on that can make environments, else the newest. Some systems have names for versions that
# are not there, so each is asked.
find_python() {
    local candidate found=""
    for candidate in python3.{19..11} python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            found=${found:-$candidate}
            if can_make_environments "$candidate"; then
                found=$candidate
                break
            fi
        fi
    done
    [[ -n $found ]] && printf '%s\n' "$found"
}

can_make_environments() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

environment_works() {
    "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# What of the wanted Debian packages is not there, one per line. Known by what they bring, wherever it came from.
missing_packages() {
    local package python
    for package in "$@"; do
        case "$package" in
            mosquitto) command -v mosquitto >/dev/null ;;
            mosquitto-clients) command -v mosquitto_sub >/dev/null && command -v mosquitto_pub >/dev/null ;;
            python3-venv) environment_works || { python=$(find_python) && can_make_environments "$python"; } ;;
            postgresql) command -v postgres >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null ;;
            libmodbus-dev) pkg-config --exists libmodbus 2>/dev/null ;;
            *) command -v "$package" >/dev/null ;;
        esac || printf '%s\n' "$package"
    done
}

# As `apt-get install`, but a server that comes with it is neither started now nor at the next boot: we start our own.
# One that was there before is left as it is.
install_packages() {
    local policy=/usr/sbin/policy-rc.d made_policy="" status=0 package server servers=()
    for package in "$@"; do
        case "$package" in mosquitto | postgresql) servers+=("$package") ;; esac
    done
    if [[ ${#servers[@]} -gt 0 && ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        made_policy=yes
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >&2 || status=$?
    if [[ -n $made_policy ]]; then
        rm -f "$policy"
        trap - EXIT
    fi
    if [[ $status -eq 0 ]]; then
        for server in "${servers[@]}"; do
            if command -v systemctl >/dev/null; then
                systemctl disable --now "$server" >/dev/null 2>&1 || true
            elif command -v update-rc.d >/dev/null; then
                update-rc.d "$server" disable >/dev/null 2>&1 || true
            fi
        done
    fi
    return $status
}

need_packages() {
    local missing python
    mapfile -t missing < <(missing_packages "$@")
    if [[ ${#missing[@]} -gt 0 ]]; then
        if ! command -v apt-get >/dev/null || [[ $(id -u) -ne 0 ]]; then
            complain "Missing: ${missing[*]}"
            complain "On Debian and Ubuntu: sudo apt-get install --no-install-recommends ${missing[*]}"
            exit 1
        fi
        complain "Installing ${missing[*]} …"
        if ! install_packages "${missing[@]}"; then
            complain "apt-get could not install: ${missing[*]}"
            exit 1
        fi
    fi
    if ! environment_works; then
        python=$(find_python) || { complain "Missing: Python 3.11 or newer"; exit 1; }
        if ! can_make_environments "$python"; then
            complain "Missing: the module venv of $python (Debian and Ubuntu: $(basename "$python")-venv)"
            exit 1
        fi
    fi
}

# install_project NAME GROUPS: the project with these groups, unless it is there already. The stamp says with which
# pyproject.toml and constraints.txt.
install_project() {
    local name=$1 groups=${2//_/-} wanted python # pip before 23.3 does not find a group by its underscores
    wanted="$groups $(cat "$root/pyproject.toml" "$root/constraints.txt" | sha256sum)"
    if environment_works && [[ -x $venv/bin/wattbus && "$(cat "$venv/installed-$name" 2>/dev/null)" == "$wanted" ]]; then
        return 0
    fi
    if ! environment_works; then
        python=$(find_python)
        complain "Making $venv with $("$python" --version) …"
        "$python" -m venv --clear "$venv"
    fi
    complain "Installing the Python packages …"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --constraint "$root/constraints.txt" \
        --config-settings editable_mode=compat --editable "$root[$groups]" # compat: a room added later is found too
    printf '%s\n' "$wanted" >"$venv/installed-$name"
}

# All groups of pyproject.toml, separated by commas.
all_groups() {
    local python
    python=$venv/bin/python
    environment_works || python=$(find_python)
    "$python" - "$root/pyproject.toml" <<'PYTHON'
import pathlib, sys, tomllib
print(",".join(tomllib.loads(pathlib.Path(sys.argv[1]).read_text())["project"]["optional-dependencies"]))
PYTHON
}
