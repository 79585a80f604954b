#!/usr/bin/env bash
# The first hour by the README, timed from a fresh clone of the commit that is checked out, with nothing built before:
# the demo's payment; then a paid order on NATS and PostgreSQL, beside the simulator. Downloads of crates count only
# where cargo has none yet, those of the test tools do not.
#
#   tests/first-hour.sh
#
# Prints "first hour, demo paid after N s, paid on NATS and PostgreSQL after M s", M counted from the clone, too.
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

scratch=$(mktemp -d "${TMPDIR:-/tmp}/wxpay-first-hour.XXXXXX")
chmod 755 "$scratch"
running=()
finish() {
    [[ ${#running[@]} -eq 0 ]] || kill "${running[@]}" 2>/dev/null || true
    stop_postgres
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

begun=$SECONDS
git clone --quiet "$ROOT" "$scratch/clone"
cd "$scratch/clone"
unset CARGO_TARGET_DIR
cargo run --release --locked -- demo --once >&2
demo=$((SECONDS - begun))
say "the demo has paid after $demo s"

cargo build --release --locked >&2
PATH=$scratch/clone/target/release:$PATH
start_postgres "$scratch/postgres"
mkdir "$scratch/shop"
cd "$scratch/shop"
read -r api simulator client monitor < <(for _ in 1 2 3 4; do free_port; done | paste -sd ' ')
cat >nats.conf <<EOF
listen: 127.0.0.1:$client
http: 127.0.0.1:$monitor
jetstream { store_dir: "$scratch/nats", sync_interval: always }
EOF
"$nats" --config nats.conf 2>nats.log &
running+=($!)
key=$(wxpayd init sandbox)
export WXPAY__SERVER__LISTEN=127.0.0.1:$api WXPAY__SERVER__PUBLIC_URL=http://127.0.0.1:$api
export WXPAY__WECHAT__SANDBOX_URL=http://127.0.0.1:$simulator WXPAY__STORE__URL=$PG_URL
export WXPAY__BUS__URL=nats://127.0.0.1:$client WXPAY__BUS__MONITORING_URLS=http://127.0.0.1:$monitor
wxpay-sandbox --config wxpay.toml 2>sandbox.log &
running+=($!)
await() { until curl -sf -o /dev/null "$1"; do sleep 0.1; done; }
await "http://127.0.0.1:$simulator/_sandbox/"
await "http://127.0.0.1:$monitor/healthz"
wxpayd run --config wxpay.toml 2>wxpayd.log &
running+=($!)
await "http://127.0.0.1:$api/healthz"
curl -sf "http://127.0.0.1:$api/v1/orders" -H "Authorization: Bearer $key" -H 'Content-Type: application/json' -o order.json \
    -d '{"order_no":"A100001","amount_fen":100,"description":"a coffee","trade_type":"NATIVE","product_id":"coffee"}'
curl -sf "http://127.0.0.1:$simulator/_sandbox/pay" -d '{"out_trade_no":"A100001"}' -o /dev/null
until curl -sf "http://127.0.0.1:$api/v1/orders/A100001?refresh=1" -H "Authorization: Bearer $key" |
    grep -q '"state":"paid"'; do sleep 0.1; done
printf 'first hour, demo paid after %s s, paid on NATS and PostgreSQL after %s s\n' "$demo" $((SECONDS - begun))
