#!/usr/bin/env bash
# Puts the faults of tests/seeded_faults.toml into a copy of the tree, a few at a time, and runs the tests that must
# notice them. Says for each whether it was caught; fails when one was missed. Takes an hour or two.
#
#   tests/seeded-faults.sh                 all of them
#   tests/seeded-faults.sh decide outcome  only those of these areas
#   FAULTS=3 tests/seeded-faults.sh        only the first three of each area
#
# Start it where the tests' services are known (tests/run.sh --services), for the faults of commit, consumer and
# refunds.
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

areas=("$@")
[[ ${#areas[@]} -gt 0 ]] || areas=(decide refund_decide outcome consumer commit refunds)
copy=$(mktemp -d "${TMPDIR:-/tmp}/wxpay-faults.XXXXXX")
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target/seeded-faults}

faults() { python3 "$ROOT/tests/tools/seeded_faults.py" "$ROOT/tests/seeded_faults.toml" "$@"; }

missed=0 caught=0
while read -r -a batch; do
    rm -rf "$copy/tree"
    mkdir "$copy/tree"
    (cd "$ROOT" && git ls-files -z | tar --null --files-from=- --create) | tar --extract --directory "$copy/tree"
    faults apply "$copy/tree" "${batch[@]}"
    (cd "$copy/tree" && cargo test --locked --test it --no-run) >"$copy/build.log" 2>&1 || {
        cat "$copy/build.log" >&2
        die "faults ${batch[*]} do not compile"
    }
    for fault in "${batch[@]}"; do
        read -r -a tests < <(faults tests "$fault")
        status=0
        (cd "$copy/tree" && cargo test --locked --test it -- "${tests[@]}") \
            >"$copy/test.log" 2>&1 </dev/null || status=$?
        grep -q '^test result: ' "$copy/test.log" || {
            cat "$copy/test.log" >&2
            die "the tests of fault $fault did not run to their end"
        }
        if [[ $status -ne 0 ]]; then
            caught=$((caught + 1))
            by=$(grep -m 1 -E '^test .*FAILED' "$copy/test.log" || true)
            say "caught  $(faults show "$fault")  by ${by#test }"
        else
            missed=$((missed + 1))
            say "MISSED  $(faults show "$fault")"
        fi
    done
done < <(faults batches "${FAULTS:-1000}" "${areas[@]}")
say "$caught caught, $missed missed"
[[ $missed -eq 0 && $caught -gt 0 ]]
