#!/usr/bin/env bash
# Writes tests/upgrade/fixture-VERSION: what a version of the service leaves behind, once on SQLite with the embedded
# queue and once on PostgreSQL with NATS. Takes seven minutes, most of them until WeChat lets an order be closed.
#
#   tests/upgrade/write-fixture.sh VERSION BINS     BINS has debug builds of that version's wxpayd and wxpay-sandbox
#                                                   (cea4513 needs --features crash-points)
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../lib.sh"

[[ $# -eq 2 && -x $2/wxpayd && -x $2/wxpay-sandbox ]] || die "usage: write-fixture.sh VERSION BINS"
out=$here/fixture-$1
bins=$(cd -- "$2" && pwd)

lock_tools
install_python_tools
nats=$(install_nats_server old)
find_postgres
unlock_tools
scratch=$(mktemp -d "${TMPDIR:-/tmp}/wxpay-fixture.XXXXXX")
chmod 755 "$scratch"
finish() {
    stop_postgres
    rm -rf "$scratch"
}
trap finish EXIT
start_postgres "$scratch/postgres"
export PG_BIN TMPDIR=$scratch PYTHONDONTWRITEBYTECODE=1

write() { "$WXPAY_TEST_PYTHON" "$here/write_fixture.py" "$bins" "$out" "$@"; }
write embedded &
embedded=$!
write nats "$PG_URL" "$nats"
wait "$embedded"
say "written: $(du -sh "$out" | cut -f1) in $out"
