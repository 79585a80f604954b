#!/usr/bin/env bash
# Runs one process of an earlier version and one of this one on one database, under load, and compares the ledger with
# the simulator's: on PostgreSQL with NATS, and on one SQLite file with the embedded queue.
#
#   tests/upgrade/side-by-side.sh [OLD] [SECONDS]
#
#   OLD        a git revision, built here once, or a folder with wxpayd of that version (the fixture's revision)
#   SECONDS    length of each load (60)
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../lib.sh"

fixtures=("$here"/fixture-*)
old=${1:-${fixtures[0]##*/fixture-}}
seconds=${2:-60}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "SECONDS is a number"

scratch=$(mktemp -d "${TMPDIR:-/tmp}/wxpay-side-by-side.XXXXXX")
chmod 755 "$scratch"
worktree=
finish() {
    stop_postgres
    [[ -z $worktree ]] || git -C "$ROOT" worktree remove --force "$worktree"
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

lock_tools
install_python_tools
nats=$(install_nats_server new)
find_postgres
unlock_tools

build() { (cd -- "$1" && cargo build --bins --locked >&2); }
if [[ ! -x $old/wxpayd ]]; then
    revision=$(git -C "$ROOT" rev-parse --verify --quiet "$old^{commit}") ||
        die "$old is no revision and no folder with wxpayd"
    worktree=$scratch/old
    git -C "$ROOT" worktree add --quiet --detach "$worktree" "$revision"
    CARGO_TARGET_DIR=$ROOT/target/old-$revision build "$worktree"
    old=$ROOT/target/old-$revision/debug
fi
build "$ROOT"
new=${CARGO_TARGET_DIR:-$ROOT/target}/debug

start_postgres "$scratch/postgres"
export PG_BIN TMPDIR=$scratch PYTHONDONTWRITEBYTECODE=1
load() { "$WXPAY_TEST_PYTHON" "$here/side_by_side.py" "$old" "$new" "$seconds" "$@"; }
load nats "$PG_URL" "$nats"
load embedded
