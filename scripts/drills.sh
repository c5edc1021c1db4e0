#!/usr/bin/env bash
# Faults on purpose, and what holds: kills, hangs, blackholes, resets, shortages, lies. Prints one table, writes results/drills.json.
#
#   scripts/drills.sh                        the short forms of lb's drills, about two minutes
#   scripts/drills.sh --long --subject all   everything, also with HAProxy and nginx in lb's place: a quarter of an hour each
#   scripts/drills.sh T2 T8                  only these
#   scripts/drills.sh --help                 every option
#
# The programs under test are release builds (target/release), made here if they aren't up to date; the rig that tests them is the
# suite's debug build, as in `cargo test` (tests/faults/). docs/reliability.md says what each drill is.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ " $* " != *" --help "* && " $* " != *" -h "* ]]; then
    cargo build --quiet --release --locked --bins
fi
ulimit -n "$(ulimit -Hn)"
cargo bench --quiet --locked --profile dev --bench drills -- "$@"
