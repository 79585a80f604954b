#!/usr/bin/env bash
# Runs every test of the workspace, with everything they need: nats-server (new and old), PostgreSQL, PgBouncer,
# Python, Node, Go, strace, Chromium. The tests of the checkout page and the console, in a browser, run beside those of
# the faults, which wait for most of their time.
# What is missing is installed: tools into target/test-tools, Debian packages when root. Nothing is skipped for want of
# a tool.
#
#   tests/run.sh                     all tests
#   tests/run.sh bus:: settle        only tests whose names contain one of these
#   tests/run.sh -- --nocapture      all tests, with any option of the test programs
#   tests/run.sh --browser           only the checkout page and the console in a browser; --pictures DIR writes pictures,
#                                    further arguments go to node --test (--test-name-pattern=…)
#   tests/long.sh                    the long instances of the proofs, by hand
#   tests/run.sh --install           only what the tests need
#   tests/run.sh --services          starts the services, prints the exports for a shell of yours, runs until Ctrl-C
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

only_services=
what=all
case ${1:-} in
--install)
    install_test_tools
    exit
    ;;
--services)
    only_services=1
    shift
    ;;
-h | --help)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
    exit
    ;;
--browser)
    what=browser
    shift
    ;;
--) shift ;;
*) [[ $# -eq 0 ]] || what=some ;;
esac
if [[ $what == browser && ${1:-} == --pictures ]]; then
    [[ -n ${2:-} ]] || die "--pictures needs a folder"
    WXPAY_SCREENSHOTS=$(realpath -m -- "$2")
    export WXPAY_SCREENSHOTS
    shift 2
fi

command -v cargo >/dev/null || die "cargo is missing; install Rust 1.94 or newer"

waiting=
# What the tests write need not outlive them: a file system in memory takes less of the cores than a disk.
if [[ -z ${TMPDIR:-} && $(findmnt --noheadings --output OPTIONS /dev/shm 2>/dev/null) =~ ^rw && \
    ! $(findmnt --noheadings --output OPTIONS /dev/shm) =~ noexec ]] &&
    (($(df --output=avail --block-size=1G /dev/shm | tail -n 1) >= 8)); then
    TMPDIR=/dev/shm
fi
scratch=$(mktemp -d "${TMPDIR:-/tmp}/wxpay-test.XXXXXX")
# As /tmp is: PostgreSQL runs as a user of its own.
chmod 1777 "$scratch"
export TMPDIR=$scratch

finish() {
    local status=$?
    trap - EXIT INT TERM HUP
    [[ -z $waiting ]] || kill "$waiting" 2>/dev/null || true
    stop_postgres
    if [[ $status -ne 0 && -z $only_services && -f $scratch/postgres/postgres.log ]]; then
        mkdir -p "$ROOT/target/test-logs"
        cp -- "$scratch/postgres/postgres.log" "$ROOT/target/test-logs/postgres.log"
        say "PostgreSQL's log is kept: target/test-logs/postgres.log"
    fi
    rm -rf "$scratch"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The program is the one that cargo test builds: another build would not unify the features of the tests' dependencies,
# and would compile most of them again.
build_tests() { cargo test --workspace --locked --no-run; }

test_browser() {
    WXPAYD=${CARGO_TARGET_DIR:-$ROOT/target}/debug/wxpayd "$WXPAY_TEST_NODE" --test --test-concurrency=2 \
        --test-reporter=spec "$@" "$ROOT"/tests/browser/*.test.mjs
}

if [[ $what == browser ]]; then
    lock_tools
    install_node_tools
    find_chromium
    unlock_tools
    cd "$ROOT"
    build_tests
    test_browser "$@"
    exit
fi

install_test_tools
# Nothing here reads what this server has on the disk: tests that kill PostgreSQL start one of their own that syncs.
start_postgres "$scratch/postgres" off
export WXPAY_TEST_POSTGRES=$PG_URL

if [[ -n $only_services ]]; then
    for name in NATS_SERVER NATS_SERVER_OLD POSTGRES POSTGRES_BIN PGBOUNCER PYTHON NODE NODE_MODULES GO STRACE NGINX \
        CHROMIUM; do
        name=WXPAY_TEST_$name
        printf 'export %s=%q\n' "$name" "${!name}"
    done
    printf 'export TMPDIR=%q\n' "$TMPDIR"
    say "PostgreSQL is up until Ctrl-C; the tests start NATS servers of their own"
    sleep infinity &
    waiting=$!
    wait "$waiting"
fi

cd "$ROOT"
if [[ $what == some ]]; then
    cargo test --workspace --locked -- "$@"
    exit
fi
# Most tests wait for something most of the time, so six share a core. Of those of the faults, which load the machine by
# themselves at times, two do.
cores=$(nproc)
RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((6 * cores))} cargo test --workspace --locked -- --skip faults:: "$@"
test_browser >"$scratch/browser.log" 2>&1 &
waiting=$!
faults=0
RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * cores))} cargo test --workspace --locked -- faults:: "$@" || faults=$?
pages=0
wait "$waiting" || pages=$?
waiting=
cat -- "$scratch/browser.log"
[[ $faults -eq 0 && $pages -eq 0 ]]
