#!/bin/sh
# Counts the instructions of the hot functions (benches/instructions) and says of each that exceeds its budget by how much.
# The arguments go to the counter: `'*judge_answer*'` counts only the functions of that name.
# Called by `make instructions`, which brings Valgrind and the runner.
set -u
cd "$(dirname "$0")/.." || exit 1

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
runner=$PWD/target/tools/bin/gungraun-runner

{
    GUNGRAUN_RUNNER=$runner GUNGRAUN_COLOR=never \
        ${CARGO:-cargo} bench --quiet --package vendors --bench instructions -- "$@" 2>"$work/errors"
    echo $? >"$work/code"
} | tee "$work/counts" | sed '/^Regressions:$/,$d'

if grep -q '; 0 benchmarks finished' "$work/counts"; then
    printf 'error: no function has the name %s\n' "$*" >&2
    exit 1
fi
[ "$(cat "$work/code")" -eq 0 ] && exit 0

# Two lines for each: `  instructions::group::function id:` and `    Callgrind: Instructions (7): 7 exceeds limit of 5 by 2`.
awk '
    /^Regressions:$/ { begun = 1; next }
    begun && /^  [^ ].*:$/ { name = $0; sub(/^ +/, "", name); sub(/:$/, "", name); sub(/^instructions::/, "", name) }
    begun && / exceeds limit of / {
        sub(/^[^:]*: /, ""); count = $3; limit = $7
        printf "error: %s needs %s instructions, and its budget is %s.\n", name, count, limit
        found = 1
    }
    END {
        if (!found) exit 1
        print "Make it need less. If what is gained is worth it, raise the budget in benches/instructions/budgets.rs in the"
        print "same commit (what is counted and a tenth more), and say in its message what it buys."
    }
' "$work/counts" >&2 && exit 1

cat "$work/errors" >&2
printf 'error: the instructions could not be counted\n' >&2
exit 1
