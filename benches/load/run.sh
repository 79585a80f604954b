#!/usr/bin/env bash
# Load figures: this service, on embedded + SQLite and on NATS + PostgreSQL, beside a program that a user might run instead, all in
# one run on one machine against the same simulator of WeChat. Prints a Markdown table; rates beyond one run are not comparable.
#
#   benches/load/run.sh [--peer DIR] [--wxpayd FILE] [--seconds N] [--connections N,…] [--orders N] [--only NAME,…]
#                       [--rates N,…] [--apart] [--idle N] [--statements] [--results FILE]
#                       [--profile DIR]
#
#   --peer DIR     a program with package.json, server.js and schema.sql: POST /orders {out_trade_no,total_fee,openid,body} and
#                  POST /notify on PORT, PostgreSQL at DATABASE_URL (table orders, status 'paid'), WeChat at WECHAT_BASE
#   --wxpayd FILE  another build of the service, to compare two versions in one hour; it is not built then
#   --seconds N    length of each load (10)
#   --connections  closed loops with so many callers each (32), one after the other, such as 32,128,512
#   --orders N     payable orders of each load of notifications, each to be notified once (12000 a second); a load that runs out of
#                  them ends early
#   --only NAMES   of peer, embedded, nats
#   --rates N,…    open loops with so many orders a second, beside WeChat's own calls at the same rate (200; 0: none); and with a
#                  peer, one of notifications at the peer's own maximum
#   --apart        the service as two processes: the ingress, and the other roles
#   --idle N       what the service uses in N seconds of nothing to do, ten seconds after its start (0: not measured)
#   --statements   PostgreSQL counts statements (pg_stat_statements), which costs a little: how many of how many texts a load ran
#   --results FILE keeps what was measured, one JSON object a line; plot.py draws it
#   --profile DIR  flame graphs of the service, of its first 5 s under the closed loops with the first number of
#                  connections: DIR/embedded-orders.svg, DIR/embedded-notifications.svg (accepting and settling), and
#                  the same of nats; the largest self times on standard error. It needs perf, and the program its
#                  symbols, as the release build has them. Recording takes CPU time: do not compare these rates.
#
# Measured: notifications answered SUCCESS; the same until the database has them all; orders answered with pay parameters; what each
# cost: CPU time by process, on PostgreSQL transactions and fsyncs of the log, of all databases of the run; how many operations share
# a transaction that writes and an fsync of the intake log, by the service's own metrics; and how far settling was behind when a load
# ended.
# The load generator, the databases and the simulator share the machine with what is measured.
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../../tests/lib.sh"

here=$ROOT/benches/load
peer=
wxpayd=
seconds=10
connections=32
orders=
rates=200
apart=
idle=0
counted=
results=
metrics=
profile=
recorder=
only=peer,embedded,nats
while [[ $# -gt 0 ]]; do
    if [[ $1 == --apart ]]; then
        apart=yes
        shift
        continue
    fi
    if [[ $1 == --statements ]]; then
        counted=yes
        shift
        continue
    fi
    case $1 in
    --idle) idle=$2 ;;
    --results) results=$(realpath -m -- "$2") ;;
    --peer) peer=$(cd -- "$2" && pwd) ;;
    --wxpayd) wxpayd=$(realpath -- "$2") ;;
    --seconds) seconds=$2 ;;
    --connections) connections=$2 ;;
    --orders) orders=$2 ;;
    --only) only=$2 ;;
    --rates) rates=$2 ;;
    --profile) profile=$(realpath -m -- "$2") ;;
    *) die "unknown argument $1; see the head of ${BASH_SOURCE[0]}" ;;
    esac
    shift 2
done
orders=${orders:-$((seconds * 12000))}
wanted() { [[ ,$only, == *,$1,* ]]; }
[[ -n $peer ]] || only=${only/peer/}
if [[ -n $profile ]]; then
    perf version >/dev/null 2>&1 || die "--profile needs perf, which is missing or not that of this kernel" \
        "(on Debian: apt-get install linux-perf)"
    mkdir -p -- "$profile"
fi

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

# Waits until the service says that it is ready, at an address of its own.
wait_until_ready() {
    local name=$1 pid=$2 port=$3
    for _ in $(seq 600); do
        if curl -fso /dev/null "http://127.0.0.1:$port/readyz"; then
            return
        fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    tail -n 30 "$scratch/$name.log" >&2
    die "$name is not ready"
}

load() { "$WXPAY_TEST_PYTHON" "$here/load.py" "$@"; }

# Prints what wrk's script prints; refuses a load that was not answered as it should be.
post_lines() {
    local callers=$1 file=$2 url=$3 type=$4 expect=$5 result
    result=$(LINES_FILE=$file CONTENT_TYPE=$type EXPECT=$expect THREADS=1 \
        wrk -t1 -c"$callers" -d"${seconds}s" --timeout 10s -s "$here/post_lines.lua" "$url" | grep '^{')
    well_answered "$url" "$result"
}

well_answered() {
    [[ $(jq '.bad + .broken' <<<"$2") -eq 0 && $(jq .good <<<"$2") -gt 0 ]] || die "bad answers from $1: $2"
    printf '%s\n' "$2"
}

# $1 rate, $2 file of bodies, $3 port, $4 path, $5 type, $6 text of a good answer
at_rate() {
    local result
    result=$("$WXPAY_TEST_PYTHON" "$here/open_loop.py" --rate "$1" --file "$2" --port "$3" --path "$4" --type "$5" --expect "$6")
    well_answered "$4" "$result"
}

# Runs a load and prints what it said with what it cost. `pids` names the processes, `database` is theirs.
costed() {
    local result
    "$WXPAY_TEST_PYTHON" "$here/stats.py" snapshot --pids "$pids" --database "$database" --metrics "$metrics" >"$scratch/before"
    result=$("$@")
    "$WXPAY_TEST_PYTHON" "$here/stats.py" snapshot --pids "$pids" --database "$database" --metrics "$metrics" >"$scratch/after"
    "$WXPAY_TEST_PYTHON" "$here/stats.py" cost --before "$scratch/before" --after "$scratch/after" --load "$result"
}

# Begins to record the service if it is to be at this number of connections; the peer has no processes in `service`.
start_profile() {
    local length=$((seconds < 5 ? seconds : 5))
    recorder=
    [[ -n $profile && -n ${service:-} && $1 == "${connections%%,*}" ]] || return 0
    background perf perf record -F 199 --call-graph dwarf,16384 -o "$scratch/perf.data" \
        -p "$(grep -oE '[0-9]+' <<<"$service" | paste -sd,)" -- sleep "$length"
    recorder=$started
}

# Draws what was recorded, if it was, when nothing is measured. $1 is what the service did.
draw_profile() {
    local setup=${system%% *} picture
    [[ -n $recorder ]] || return 0
    if ! wait "$recorder"; then
        tail -n 10 "$scratch/perf.log" >&2
        die "perf could not record $system"
    fi
    recorder=
    picture=$profile/${setup,,}-$1.svg
    say "$system: drawing $picture"
    perf script --no-inline -F comm,pid,tid,event,ip,sym,dso -i "$scratch/perf.data" 2>>"$scratch/perf.log" |
        "$WXPAY_TEST_PYTHON" "$here/flame.py" --title "$system, $1 @$callers" --pids "$service" >"$scratch/picture"
    grep -i 'lost' "$scratch/perf.log" >&2 || true
    mv -- "$scratch/picture" "$picture"
    rm -f "$scratch/perf.data"
}

record() { jq -c --arg system "$1" --arg measure "$2" '. + {system: $system, measure: $measure}' >>"$scratch/results"; }

# $1 system, $2 peer|service, $3 port, $4 order path, $5 notification path, $6 database, $7 query that counts what is settled,
# $8 the processes with their numbers.
measure() {
    local system=$1 kind=$2 port=$3 order_path=$4 notify_path=$5 database=$6 query=$7 pids="$8,simulator=$far_pid" settled=0
    # All systems share one simulator, where a number belongs to who used it first.
    local tag=${system:0:1} callers rate
    for callers in ${connections//,/ }; do
        say "$system: orders for ${seconds} s, $callers connections"
        load make orders --system "$kind" --count $((seconds * 10000)) --prefix "A$tag$callers" --out "$scratch/orders"
        start_profile "$callers"
        costed post_lines "$callers" "$scratch/orders" "http://127.0.0.1:$port$order_path" application/json paySign |
            record "$system" "orders @$callers"
        draw_profile orders
    done
    for rate in ${rates//,/ }; do
        [[ $rate -eq 0 ]] || orders_at_rate "$rate"
    done
    for callers in ${connections//,/ }; do
        notifications "$callers"
    done
    # At the peer's own maximum, as its first load found it.
    rate=$(jq -s 'map(select(.system == "peer" and (.measure | startswith("notifications @")))) | .[0].per_second // 0 | floor' \
        "$scratch/results")
    if [[ $rate -gt 0 && $rates != 0 ]]; then
        say "$system: notifications at $rate/s for ${seconds} s"
        payable "D$tag" $((seconds * rate))
        load make notifications --count $((seconds * rate)) --prefix "D$tag" --out "$scratch/notifications"
        costed at_rate "$rate" "$scratch/notifications" "$port" "$notify_path" text/xml SUCCESS |
            record "$system" "notifications $rate/s"
    fi
}

orders_at_rate() {
    local rate=$1 count=$(($1 * seconds))
    say "$system: orders at $rate/s for ${seconds} s, then WeChat's own"
    load make orders --system "$kind" --count "$count" --prefix "E$tag$rate" --out "$scratch/orders"
    costed at_rate "$rate" "$scratch/orders" "$port" "$order_path" application/json paySign | record "$system" "orders $rate/s"
    load make unified --count "$count" --prefix "F$tag$rate" --out "$scratch/orders"
    at_rate "$rate" "$scratch/orders" "$far_port" /pay/unifiedorder text/xml prepay_id | record "$system" "wechat $rate/s"
}

# So many payable orders in the database, copied from one that is placed: $1 prefix, $2 how many.
payable() {
    local model
    load make orders --system "$kind" --count 1 --prefix "M$1" --out "$scratch/orders"
    load place --file "$scratch/orders" --port "$port" --path "$order_path"
    model=$(jq -r '.order_no // .out_trade_no' "$scratch/orders")
    "$WXPAY_TEST_PYTHON" "$here/seed.py" --database "$database" --system "$kind" --model "$model" --prefix "$1" --count "$2"
}

notifications() {
    local callers=$1 result at behind watcher
    say "$system: $orders payable orders"
    payable "B$tag$callers" "$orders"
    load make notifications --count "$orders" --prefix "B$tag$callers" --out "$scratch/notifications"
    say "$system: notifications for ${seconds} s, $callers connections"
    rm -f "$scratch/target"
    load watch --database "$database" --query "$query" --target-file "$scratch/target" >"$scratch/settled_at" &
    watcher=$!
    running+=("$watcher")
    start_profile "$callers"
    "$WXPAY_TEST_PYTHON" "$here/stats.py" snapshot --pids "$pids" --database "$database" --metrics "$metrics" >"$scratch/begun"
    result=$(costed post_lines "$callers" "$scratch/notifications" "http://127.0.0.1:$port$notify_path" text/xml SUCCESS)
    record "$system" "notifications @$callers" <<<"$result"
    settled=$((settled + $(jq .good <<<"$result")))
    printf '%s\n' "$settled" >"$scratch/target.new"
    mv "$scratch/target.new" "$scratch/target"
    wait "$watcher" || die "$system did not settle what it accepted"
    read -r at behind <"$scratch/settled_at"
    "$WXPAY_TEST_PYTHON" "$here/stats.py" snapshot --pids "$pids" --database "$database" --metrics "$metrics" >"$scratch/after"
    result=$(load settled --load "$result" --at-us "$at" --behind "$behind")
    "$WXPAY_TEST_PYTHON" "$here/stats.py" cost --before "$scratch/begun" --after "$scratch/after" --load "$result" |
        record "$system" "settled @$callers"
    draw_profile notifications
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
    metrics=
    measure peer peer "$port" /orders /notify "$database" "SELECT count(*) FROM orders WHERE status = 'paid'" \
        "peer=$started,postgres=$postgres_pid"
    stop
}

# $1 name, $2 store.url, $3 bus.url, $4 bus.monitoring_urls, $5 other processes with their numbers
measure_service() {
    local system=$1 store=$2 bus=$3 monitoring=$4 others=$5 port pids service
    port=$(free_port)
    metrics=
    API_KEY=$api_key load config --port "$port" --far "$far_port" --store "$store" --bus "$bus" \
        --monitoring "$monitoring" >"$scratch/wxpay.toml"
    if [[ -n $apart ]]; then
        serve "$system" ingress
        pids="ingress=$started"
        serve "$system behind" worker,relay,scheduler
        pids+=",workers=$started"
    else
        serve "$system" ingress,worker,relay,scheduler
        pids="wxpayd=$started"
    fi
    service=$pids
    if [[ $idle -gt 0 ]]; then
        say "$system: idle for ${idle} s"
        sleep 10
        "$WXPAY_TEST_PYTHON" "$here/stats.py" idle --pids "$pids$others" --database "$store" --metrics "$metrics" \
            --seconds "$idle" | record "$system" idle
    fi
    AUTHORIZATION="Bearer $api_key" measure "$system" service "$port" /v1/orders /notify/main/pay "$store" \
        "SELECT count(*) FROM ledger" "$pids$others"
    stop
}

# Starts a process with these roles and waits until it is ready.
serve() {
    local admin
    admin=$(free_port)
    background "$1" env WXPAY__SERVER__ADMIN_LISTEN="127.0.0.1:$admin" "$wxpayd" run --only "$2" --config "$scratch/wxpay.toml"
    wait_until_ready "$1" "$started" "$admin"
    metrics+=${metrics:+,}http://127.0.0.1:$admin/metrics
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
    measure_service "NATS + PostgreSQL" "$database" "nats://127.0.0.1:$port" "\"http://127.0.0.1:$monitor\"" \
        ",nats=$started,postgres=$postgres_pid"
}

need_command wrk wrk
need_command jq jq
need_command curl curl
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
extra=()
[[ -z $counted ]] || extra=(-c shared_preload_libraries=pg_stat_statements)
start_postgres "$scratch/postgres" on "${extra[@]}"
# In the template, and so in each database that is made from here on.
[[ -z $counted ]] || "$PG_BIN/psql" -qX "${PG_URL%/*}/template1" -c "CREATE EXTENSION pg_stat_statements" >&2
postgres_pid=$(head -n 1 "$PG_DIR/data/postmaster.pid")
touch "$scratch/results"

# WeChat for all of them. Not in `running`: it outlives each system.
far_port=$(free_port)
background far "$target/release/wxpay-sandbox" --listen "127.0.0.1:$far_port"
far_pid=$started
running=()
wait_for_port far "$far_pid" "$far_port"

if wanted peer; then measure_peer; fi
if wanted embedded; then measure_service "embedded + SQLite" "sqlite://$scratch/wxpay.db" "embedded:" "" ""; fi
if wanted nats; then measure_nats; fi

printf '%d cores, %s connections, %d s per load, %s, PostgreSQL %s with fsync, NATS %s with sync_interval always\n\n' \
    "$(nproc)" "$connections" "$seconds" "$(uname -m)" \
    "$("$PG_BIN/postgres" --version | grep -o '[0-9.]*' | head -n 1)" "$("$WXPAY_TEST_NATS_SERVER" --version | grep -o '[0-9.]*$')"
load table "$scratch/results"
[[ -z $results ]] || cp -- "$scratch/results" "$results"
