#!/usr/bin/env bash
# Puts the faults of tests/seeded_faults.toml into a copy of the tree, each behind a switch, and runs the tests that
# must notice them: first without a fault, where all must pass, then with each. Says which fault was caught by which
# test; fails when one was missed. A build and some ten minutes.
#
#   tests/seeded-faults.sh                 all of them
#   tests/seeded-faults.sh decide outcome  only those of these areas
#   FAULTS=3 tests/seeded-faults.sh        only the first three of each area
#
# Start it where the tests' services are known (tests/run.sh --services), for the faults of commit, consumer,
# refunds and webhooks.
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

areas=("$@")
[[ ${#areas[@]} -gt 0 ]] || areas=(decide refund_decide outcome consumer commit refunds webhooks)
copy=$(mktemp -d "${TMPDIR:-/tmp}/wxpay-faults.XXXXXX")
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target/seeded-faults}

faults() { python3 "$ROOT/tests/tools/seeded_faults.py" "$ROOT/tests/seeded_faults.toml" "$@"; }

rm -rf "$copy/tree"
mkdir "$copy/tree"
(cd "$ROOT" && git ls-files -z | tar --null --files-from=- --create) | tar --extract --directory "$copy/tree"
read -r -d '' -a numbers < <(faults numbers "${FAULTS:-1000}" "${areas[@]}") || true
[[ ${#numbers[@]} -gt 0 ]] || die "no faults of ${areas[*]}"
faults apply "$copy/tree" "${numbers[@]}"
cd "$copy/tree"
cargo test --workspace --locked --no-run >"$copy/build.log" 2>&1 || {
    cat "$copy/build.log" >&2
    die "the faults do not compile"
}

# Runs tests to their end; whether they passed.
passes() {
    local status=0
    cargo test --locked --test it -- "$@" >"$copy/test.log" 2>&1 </dev/null || status=$?
    grep -q '^test result: ' "$copy/test.log" || {
        cat "$copy/test.log" >&2
        die "tests did not run to their end: $*"
    }
    return "$status"
}

filters() { for number in "${numbers[@]}"; do faults tests "$number"; done | tr ' ' '\n' | sort -u; }
read -r -d '' -a every < <(filters) || true
passes "${every[@]}" || {
    cat "$copy/test.log" >&2
    die "tests fail without a fault"
}
missed=0 caught=0
for number in "${numbers[@]}"; do
    read -r -a tests < <(faults tests "$number")
    if WXPAY_SEEDED_FAULT=$number passes "${tests[@]}"; then
        missed=$((missed + 1))
        say "MISSED  $(faults show "$number")"
    else
        caught=$((caught + 1))
        by=$(grep -m 1 -E '^test .*FAILED' "$copy/test.log" || true)
        say "caught  $(faults show "$number")  by ${by#test }"
    fi
done
say "$caught caught, $missed missed"
[[ $missed -eq 0 ]]
