#!/usr/bin/env bash
# Load figures: this service, on embedded + SQLite and on NATS + PostgreSQL, beside a program that a user might run instead, all in
# one run on one machine against the same simulator of WeChat. Prints a Markdown table; rates beyond one run are not comparable.
#
#   benches/load/run.sh [--peer DIR] [--wxpayd FILE] [--seconds N] [--connections N] [--orders N] [--only NAME,…]
#
#   --peer DIR     a program with package.json, server.js and schema.sql: POST /orders {out_trade_no,total_fee,openid,body} and
#                  POST /notify on PORT, PostgreSQL at DATABASE_URL (table orders, status 'paid'), WeChat at WECHAT_BASE
#   --wxpayd FILE  another build of the service, to compare two versions in one hour; it is not built then
#   --seconds N    length of each load (10)
#   --orders N     orders placed beforehand, each to be notified once (20000); a load that runs out of them ends early
#   --only NAMES   of peer, embedded, nats
#
# Measured: notifications answered SUCCESS; the same until the database has them all; orders answered with pay parameters.
# The load generator, the databases and the simulator share the machine with what is measured.
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../../tests/lib.sh"

here=$ROOT/benches/load
peer=
wxpayd=
seconds=10
connections=32
orders=20000
only=peer,embedded,nats
while [[ $# -gt 0 ]]; do
    case $1 in
    --peer) peer=$(cd -- "$2" && pwd) ;;
    --wxpayd) wxpayd=$(realpath -- "$2") ;;
    --seconds) seconds=$2 ;;
    --connections) connections=$2 ;;
    --orders) orders=$2 ;;
    --only) only=$2 ;;
    *) die "unknown argument $1; see the head of ${BASH_SOURCE[0]}" ;;
    esac
    shift 2
done
wanted() { [[ ,$only, == *,$1,* ]]; }
[[ -n $peer ]] || only=${only/peer/}

scratch=$(mktemp -d "${TMPDIR:-/tmp}/wxpay-load.XXXXXX")
chmod 755 "$scratch"
running=()

# Ends what `background` started; what does not end by itself within half a minute is killed.
stop() {
    local pid
    for pid in "${running[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${running[@]}"; do
        for _ in $(seq 300); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null && say "process $pid had to be killed"
        wait "$pid" 2>/dev/null || true
    done
    running=()
}

finish() {
    local status=$?
    trap - EXIT INT TERM HUP
    [[ -z ${far_pid:-} ]] || running+=("$far_pid")
    stop
    stop_postgres
    if [[ $status -ne 0 ]]; then
        mkdir -p "$ROOT/target/load-logs"
        cp -- "$scratch"/*.log "$scratch"/postgres/*.log "$ROOT/target/load-logs/" 2>/dev/null || true
        say "logs are kept: target/load-logs"
    fi
    rm -rf "$scratch"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Runs a program in the background, its output in NAME.log, until `stop`.
background() {
    local name=$1
    shift
    "$@" >"$scratch/$name.log" 2>&1 &
    started=$!
    running+=("$started")
}

# Waits until the program answers on its port; a program that ended is a failure at once.
wait_for_port() {
    local name=$1 pid=$2 port=$3
    for _ in $(seq 600); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            return
        fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    tail -n 30 "$scratch/$name.log" >&2
    die "$name did not start"
}

load() { "$WXPAY_TEST_PYTHON" "$here/load.py" "$@"; }

# Prints what wrk's script prints; refuses a load that was not answered as it should be.
post_lines() {
    local file=$1 url=$2 type=$3 expect=$4 result
    result=$(LINES_FILE=$file CONTENT_TYPE=$type EXPECT=$expect THREADS=1 \
        wrk -t1 -c"$connections" -d"${seconds}s" --timeout 10s -s "$here/post_lines.lua" "$url" | grep '^{')
    [[ $(jq '.bad + .broken' <<<"$result") -eq 0 && $(jq .good <<<"$result") -gt 0 ]] || die "bad answers from $url: $result"
    printf '%s\n' "$result"
}

record() { jq -c --arg system "$1" --arg measure "$2" '. + {system: $system, measure: $measure}' >>"$scratch/results"; }

# $1 system, $2 peer|service, $3 port, $4 order path, $5 notification path, $6 database, $7 query that counts what is settled.
measure() {
    local system=$1 kind=$2 port=$3 order_path=$4 notify_path=$5 database=$6 query=$7 result at
    # All systems share one simulator, where a number belongs to who used it first.
    local tag=${system:0:1}
    say "$system: orders for ${seconds} s"
    load make orders --system "$kind" --count $((seconds * 10000)) --prefix "A$tag" --out "$scratch/orders"
    result=$(post_lines "$scratch/orders" "http://127.0.0.1:$port$order_path" application/json paySign)
    record "$system" orders <<<"$result"

    say "$system: placing $orders orders"
    load make orders --system "$kind" --count "$orders" --prefix "B$tag" --out "$scratch/orders"
    load place --file "$scratch/orders" --port "$port" --path "$order_path"

    say "$system: notifications for ${seconds} s"
    load make notifications --count "$orders" --prefix "B$tag" --out "$scratch/notifications"
    rm -f "$scratch/target"
    load watch --database "$database" --query "$query" --target-file "$scratch/target" >"$scratch/settled_at" &
    local watcher=$!
    running+=("$watcher")
    result=$(post_lines "$scratch/notifications" "http://127.0.0.1:$port$notify_path" text/xml SUCCESS)
    record "$system" notifications <<<"$result"
    jq .good <<<"$result" >"$scratch/target.new"
    mv "$scratch/target.new" "$scratch/target"
    wait "$watcher" || die "$system did not settle what it accepted"
    at=$(<"$scratch/settled_at")
    load settled --load "$result" --at-us "$at" | record "$system" settled
}

new_database() { "$PG_BIN/psql" -qX "$PG_URL" -c "CREATE DATABASE $1" >&2 && printf '%s/%s\n' "${PG_URL%/*}" "$1"; }

measure_peer() {
    local dir=$ROOT/target/load-peer database port
    database=$(new_database peer)
    install_node_packages "$peer/package.json" "$dir"
    cp -- "$peer/server.js" "$peer/schema.sql" "$dir/"
    "$PG_BIN/psql" -qX "$database" -f "$dir/schema.sql" >/dev/null 2>&1
    port=$(free_port)
    background peer env PORT="$port" DATABASE_URL="$database" WECHAT_BASE="http://127.0.0.1:$far_port" node "$dir/server.js"
    wait_for_port peer "$started" "$port"
    measure peer peer "$port" /orders /notify "$database" "SELECT count(*) FROM orders WHERE status = 'paid'"
    stop
}

# $1 name, $2 store.url, $3 bus.url, $4 bus.monitoring_urls
measure_service() {
    local system=$1 store=$2 bus=$3 monitoring=$4 port
    port=$(free_port)
    API_KEY=$api_key load config --port "$port" --far "$far_port" --store "$store" --bus "$bus" \
        --monitoring "$monitoring" >"$scratch/wxpay.toml"
    background "$system" "$wxpayd" run --config "$scratch/wxpay.toml"
    wait_for_port "$system" "$started" "$port"
    AUTHORIZATION="Bearer $api_key" measure "$system" service "$port" /v1/orders /notify/main/pay "$store" "SELECT count(*) FROM ledger"
    stop
}

measure_nats() {
    local port monitor database
    database=$(new_database service)
    port=$(free_port)
    monitor=$(free_port)
    cat >"$scratch/nats.conf" <<CONF
listen: "127.0.0.1:$port"
http: "127.0.0.1:$monitor"
jetstream { store_dir: "$scratch/nats", max_file_store: 8GB, sync_interval: always }
CONF
    background nats-server "$WXPAY_TEST_NATS_SERVER" --config "$scratch/nats.conf"
    wait_for_port nats-server "$started" "$port"
    measure_service "NATS + PostgreSQL" "$database" "nats://127.0.0.1:$port" "\"http://127.0.0.1:$monitor\""
}

need_command wrk wrk
need_command jq jq
lock_tools
install_python_tools
WXPAY_TEST_NATS_SERVER=$(install_nats_server new)
find_postgres
unlock_tools
target=$(cd "$ROOT" && cargo metadata --format-version 1 --no-deps --locked | jq -r .target_directory)
if [[ -z $wxpayd ]]; then
    (cd "$ROOT" && cargo build --release --locked --bins >&2)
    wxpayd=$target/release/wxpayd
fi
api_key=load-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
start_postgres "$scratch/postgres"

# WeChat for all of them. Not in `running`: it outlives each system.
far_port=$(free_port)
background far "$target/release/wxpay-sandbox" --listen "127.0.0.1:$far_port"
far_pid=$started
running=()
wait_for_port far "$far_pid" "$far_port"

if wanted peer; then measure_peer; fi
if wanted embedded; then measure_service "embedded + SQLite" "sqlite://$scratch/wxpay.db" "embedded:" ""; fi
if wanted nats; then measure_nats; fi

printf '%d cores, %d connections, %d s per load, %s, PostgreSQL %s with fsync, NATS %s with sync_interval always\n\n' \
    "$(nproc)" "$connections" "$seconds" "$(uname -m)" \
    "$("$PG_BIN/postgres" --version | grep -o '[0-9.]*' | head -n 1)" "$("$WXPAY_TEST_NATS_SERVER" --version | grep -o '[0-9.]*$')"
load table "$scratch/results"
