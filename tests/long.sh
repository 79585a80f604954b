#!/usr/bin/env bash
# The long instances of the proofs, of which tests/run.sh runs a small one each: every crash site on every combination
# of bus and database, storms of kills, thousands of orders and refunds, many histories, the optimised program, two
# versions at once. Takes hours on two cores. Runs by hand and writes its report (commands, seeds, figures) into
# docs/long-tests.md.
#
#   tests/long.sh                 all of them
#   tests/long.sh storm tokens    only those named
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
report=docs/long-tests.md
export WXPAY_TEST_LONG=1
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-2}

# Name, words for tests/run.sh; docs/long-tests.md says what each shows.
proofs=(
    "crash_sites faults::crash_sites"
    "storm faults::storm"
    "intake faults::intake_log"
    "thousand faults::thousand"
    "copies faults::copies refunds::reports::notifications"
    "forgeries faults::forgeries"
    "refunds refunds::lost refunds::sums"
    "histories order::three_sources"
    "tokens flows::tokens"
    "reconcile reconcile::seeds"
    "spreadsheets books::spreadsheets"
    "replays ops_replay::refused"
    "consumers subscribers::examples subscribers::feed webhooks::killed_receivers webhooks::processes"
    "schemathesis reference::fuzzing"
    "console_replay --browser --test-name-pattern=wrong"
    "release"
    "dependencies"
    "micro"
    "side_by_side"
    "first_hour"
)

# Figures that a proof prints.
shown='[0-9]+ of [0-9]+ within 35 s; .*|^side by side, .*|^first hour, .*|^[0-9]+ (kills|orders)$'

log=$(mktemp "${TMPDIR:-/tmp}/wxpay-long.XXXXXX")
trap 'rm -f "$log"' EXIT
rows=()
failed=0
for proof in "${proofs[@]}"; do
    read -r name words <<<"$proof"
    [[ $# -eq 0 || " $* " == *" $name "* ]] || continue
    if [[ $name == release ]]; then
        # Every program: what the optimising compiler refuses, the other one may accept.
        command=(sh -c "cargo build --release --locked && target/release/wxpayd demo --once")
    elif [[ $name == storm ]]; then
        cargo build --release --locked --bin wxpayd >&2
        command=(env WXPAY_TEST_WXPAYD=target/release/wxpayd tests/run.sh faults::storm)
    elif [[ $name == dependencies ]]; then
        # Advisories need the network at each run, and are checked over Cargo.lock by tests/it/tidy as far as they are
        # bans.
        command=(sh -c "command -v cargo-deny >/dev/null || cargo install --locked cargo-deny &&
            cargo deny check bans licenses sources && deploy/sbom.sh >target/sbom.json")
    elif [[ $name == micro ]]; then
        command=(cargo run --release --manifest-path benches/micro/Cargo.toml -- --bench)
    elif [[ $name == side_by_side ]]; then
        command=(tests/upgrade/side-by-side.sh)
    elif [[ $name == first_hour ]]; then
        command=(tests/first-hour.sh)
    else
        # shellcheck disable=SC2206 # words are words
        command=(tests/run.sh $words)
    fi
    printf '\n== %s: %s\n' "$name" "${command[*]}" >&2
    begun=$SECONDS
    outcome=passed
    "${command[@]}" 2>&1 | tee "$log" >&2 || outcome=FAILED failed=1
    seeds=$(grep -oE 'WXPAY_TEST_SEED=[0-9]+' "$log" | sort -u | cut -d= -f2 | paste -sd ' ' || true)
    counts=$(grep -oE '[0-9]+ passed; [0-9]+ failed' "$log" | grep -v '^0 passed; 0 failed' | paste -sd ',' || true)
    figures=$(grep -oE "$shown" "$log" | paste -sd ',' || true)
    row="| $name | \`${command[*]}\` | ${seeds:--} | $outcome${counts:+, $counts}${figures:+; $figures}"
    rows+=("$row | $((SECONDS - begun)) |")
done
[[ ${#rows[@]} -gt 0 ]] || {
    echo "error: no proof of that name" >&2
    exit 1
}

# Everything from the heading on is written anew.
{
    sed '/^## Latest run$/,$d' "$report"
    # shellcheck disable=SC2016 # backticks of Markdown
    printf '## Latest run\n\nCommit %s, %s, %s cores, `WXPAY_TEST_LONG=1`, %s test threads.\n\n' \
        "$(git rev-parse --short HEAD)" "$(date -u +%F)" "$(nproc)" "$RUST_TEST_THREADS"
    printf '| proof | command | seeds | outcome | seconds |\n|---|---|---|---|---:|\n'
    printf '%s\n' "${rows[@]}"
} >"$log"
cp -- "$log" "$report"
exit "$failed"
