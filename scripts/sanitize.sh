#!/usr/bin/env bash
# The tests once more, lb and everything that it is built of under AddressSanitizer: reads and writes of memory that isn't theirs, and
# at the end of each program what was never given back. For the room of system calls, which alone may be `unsafe`, and for the crates.
# A quarter of an hour to build, and ten minutes.
#
#   scripts/sanitize.sh                     the unit tests, and the whole suite
#   scripts/sanitize.sh upgrade:: sandbox   these of the suite
#
# The stable compiler does it if it is told to (RUSTC_BOOTSTRAP). ThreadSanitizer would need std built with it, whose sources aren't in
# every toolchain; the orders of the threads are tests/loom's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1-} in
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "sanitize.sh: $1 found; allowed: names of tests of the suite" >&2; exit 2 ;;
esac
host=$(rustc -vV | sed -n 's/^host: //p')
reports=$(mktemp -d "${TMPDIR:-/tmp}/lb-sanitize.XXXXXX")
trap 'rm -rf "$reports"' EXIT
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address"
export ASAN_OPTIONS="detect_leaks=1:exitcode=99:log_path=$reports/report"
# With --target, what runs at build time isn't instrumented.
with=(--locked --target "$host" --target-dir target/sanitized)
# What measures memory measures the sanitizer's here, and the search for leaks doesn't go together with strace.
not_here=()
for test in an_idle_session_costs a_kernel_that_can_not_do_it; do not_here+=(--skip "$test"); done

ulimit -n "$(ulimit -Hn)"
code=0
cargo test "${with[@]}" --lib || code=$?
cargo test "${with[@]}" --test suite -- "${not_here[@]}" "$@" || code=$?
# A program that a test ended on purpose, or whose exit code nobody asked for, reports here alone.
if compgen -G "$reports/report*" >/dev/null; then
    cat "$reports"/report*
    echo "sanitize.sh: the sanitizer found something, above" >&2
    exit 1
fi
exit "$code"
