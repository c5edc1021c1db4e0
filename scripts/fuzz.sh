#!/usr/bin/env bash
# Fuzzes what reads bytes from elsewhere, two targets at a time, and tells what each did. Exit 1 if one crashed, with how to replay it.
#
#   scripts/fuzz.sh                              all targets, 60 s each
#   scripts/fuzz.sh --seconds 600 config session  these two, ten minutes each
#
# What was found before (target/fuzz/corpus) is where the next run begins; fuzz/seeds and tests/configs are read only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=60
targets=()
while (($#)); do
    case $1 in
        --seconds) seconds=${2:?}; shift 2 ;;
        -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
        -*) echo "fuzz.sh: $1 found; allowed: --seconds N, names of targets" >&2; exit 2 ;;
        *) targets+=("$1"); shift ;;
    esac
done
if ! [[ $seconds =~ ^[1-9][0-9]*$ ]]; then
    echo "fuzz.sh: --seconds: found $seconds, wanted a whole number from 1 on" >&2
    exit 2
fi
all=()
for file in fuzz/targets/*.rs; do
    name=$(basename "$file" .rs)
    if grep -q "^name = \"$name\"$" fuzz/Cargo.toml; then all+=("$name"); fi
done
if ((${#targets[@]} == 0)); then targets=("${all[@]}"); fi
for target in "${targets[@]}"; do
    if [[ " ${all[*]} " != *" $target "* ]]; then
        echo "fuzz.sh: no target is named $target; there are: ${all[*]}" >&2
        exit 2
    fi
done

# As `cargo fuzz build --sanitizer none` does it, by the stable compiler and without that tool: coverage for libFuzzer, `cfg(fuzzing)`.
# Without AddressSanitizer, which is of the nightly compiler only: `unsafe` stands in one file of lb, which no target reaches.
flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
flags+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
host=$(rustc -vV | sed -n 's/^host: //p')
home=$PWD/target/fuzz
began=$SECONDS
# With --target, what runs at build time isn't instrumented.
RUSTFLAGS="$flags" cargo build --locked --release --manifest-path fuzz/Cargo.toml --target "$host" --target-dir target/fuzz "${targets[@]/#/--bin=}"
echo "fuzz.sh: built in $((SECONDS - began)) s; ${#targets[@]} targets, $seconds s each, two at a time"

# run TARGET: until its time is over or it crashes.
run() {
    local target=$1 seeds=("fuzz/seeds/$1") dictionary=()
    if [[ $target == config ]]; then seeds=(tests/configs/good tests/configs/bad); fi
    if [[ -e fuzz/$target.dict ]]; then dictionary=("-dict=fuzz/$target.dict"); fi
    mkdir -p "$home/corpus/$target" "$home/crashes/$target"
    "$home/$host/release/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=3072 -print_final_stats=1 -verbosity=1 \
        -artifact_prefix="$home/crashes/$target/" "${dictionary[@]}" "$home/corpus/$target" "${seeds[@]}" >"$home/$target.log" 2>&1
}

declare -A status=()
pids=()
names=()
# shellcheck disable=SC2317 # by the trap
stop() {
    if ((${#pids[@]} > 0)); then kill "${pids[@]}" 2>/dev/null || true; fi
}
trap stop EXIT
gather() {
    local code=0
    wait "${pids[0]}" || code=$?
    status[${names[0]}]=$code
    pids=("${pids[@]:1}")
    names=("${names[@]:1}")
}
for target in "${targets[@]}"; do
    if ((${#pids[@]} == 2)); then gather; fi
    run "$target" &
    pids+=($!)
    names+=("$target")
done
while ((${#pids[@]} > 0)); do gather; done

printf '\n%-15s %12s %10s %10s  %s\n' target executions coverage inputs outcome
failed=0
for target in "${targets[@]}"; do
    log=$home/$target.log
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    inputs=$(find "$home/corpus/$target" -type f | wc -l)
    outcome=fine
    if ((status[$target] != 0)); then
        failed=1
        outcome="crashed (${status[$target]})"
    fi
    printf '%-15s %12s %10s %10s  %s\n' "$target" "${executions:-?}" "${coverage:-?}" "$inputs" "$outcome"
done
for target in "${targets[@]}"; do
    ((status[$target] != 0)) || continue
    log=$home/$target.log
    echo
    echo "fuzz.sh: $target crashed; the end of $log:"
    tail -n 40 "$log" | cut -c 1-400 | sed 's/^/  /'
    input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    echo "  replay:  target/fuzz/$host/release/$target ${input#"$PWD/"}"
done
exit "$failed"
