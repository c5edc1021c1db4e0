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
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address"
export ASAN_OPTIONS="detect_leaks=1:exitcode=99"
# The suite's own process ends with threads that it never joined; lb, which it starts, has nothing of these names.
known=$(mktemp "${TMPDIR:-/tmp}/lb-sanitize.XXXXXX")
trap 'rm -f "$known"' EXIT
printf 'leak:%s\n' test::run_test suite:: __cxa_thread_atexit_impl >"$known"
chmod a+r "$known"
# With --target, what runs at build time isn't instrumented.
with=(--locked --target "$host" --target-dir target/sanitized)
# These measure memory, which is the sanitizer's here: it keeps what was freed, to see who still uses it.
measuring=(an_idle_session_costs many_backends_come_and_go_under_load t7_ t13_ t20_ t22_ t23_)
# The search for leaks traces its threads, and these are traced by strace already.
traced=(a_kernel_that_can_not_do_it t28_ system_calls_that_fail)
not_here=()
for test in "${measuring[@]}" "${traced[@]}"; do not_here+=(--skip "$test"); done
echo "sanitize.sh: skipped: ${measuring[*]}: they measure memory; ${traced[*]}: strace and the search for leaks exclude each other"

ulimit -n "$(ulimit -Hn)"
code=0
cargo test "${with[@]}" --lib || code=$?
LSAN_OPTIONS="suppressions=$known:print_suppressions=0" cargo test "${with[@]}" --test suite -- "${not_here[@]}" "$@" || code=$?
exit "$code"
