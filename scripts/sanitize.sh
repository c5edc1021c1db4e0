#!/usr/bin/env bash
# The tests once more, lb and everything that it is built of under AddressSanitizer: reads and writes of memory that isn't theirs, and
# at the end of each program what was never given back. For the room of system calls, which alone may be `unsafe`, and for the crates.
#
#   scripts/sanitize.sh                     the unit tests, and those of the suite that move bytes
#   scripts/sanitize.sh upgrade:: sandbox   these of the suite
#
# The stable compiler does it if it is told to (RUSTC_BOOTSTRAP). ThreadSanitizer would need std built with it, whose sources aren't in
# every toolchain; the orders of the threads are tests/loom's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1-} in
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "sanitize.sh: $1 found; allowed: names of tests of the suite" >&2; exit 2 ;;
esac
tests=("$@")
if ((${#tests[@]} == 0)); then tests=(relay:: closing:: failover:: timeouts:: fences:: proxy_protocol:: reload:: upgrade:: limits:: sandbox::); fi
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" ASAN_OPTIONS="detect_leaks=1:abort_on_error=0:exitcode=99"
# With --target, what runs at build time isn't instrumented.
with=(--locked --target "$host" --target-dir target/sanitized)
cargo test "${with[@]}" --lib
cargo test "${with[@]}" --test suite -- "${tests[@]}"
