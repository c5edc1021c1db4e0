#!/usr/bin/env bash
# Mutation testing of the rooms that are pure: each small change to their code must make a test fail (cargo-mutants 27, which needs
# `cargo install cargo-mutants --locked`). Prints how many were caught and which were not; exit 1 below the share that is wanted.
#
#   scripts/mutants.sh                       fence, balance, the configuration, the PROXY protocol, the session: hours
#   scripts/mutants.sh fence balance         these rooms
#   scripts/mutants.sh --shard 0/8 config    an eighth of the mutants of one
#   scripts/mutants.sh --wanted 85 fence     exit 1 if fewer than 85 % are caught
#
# To be quick it doesn't build `lb` for each of them, but a package in target/mutants with the same files of the lowest rooms, which
# import nothing else (tests/layers.rs holds that), and the tests of these rooms: their own, tests/config.rs, and for the session
# tests/simulation.rs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

shard=()
wanted=85
rooms=()
while (($#)); do
    case $1 in
        --shard) shard=(--shard "${2:?}"); shift 2 ;;
        --wanted) wanted=${2:?}; shift 2 ;;
        -h | --help) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
        -*) echo "mutants.sh: $1 found; allowed: --shard K/N, --wanted PERCENT, names of rooms" >&2; exit 2 ;;
        *) rooms+=("$1"); shift ;;
    esac
done
if ((${#rooms[@]} == 0)); then
    for room in fence balance config proxy_protocol session; do
        if [[ -e src/$room ]]; then rooms+=("$room"); fi
    done
fi
if ! cargo mutants --version >/dev/null 2>&1; then
    echo "mutants.sh: cargo-mutants isn't installed: cargo install cargo-mutants --locked" >&2
    exit 2
fi

# The lowest rooms, and what they need of the dependencies.
lowest=(types sync observe pool balance fence config proxy_protocol session)
crates=(arc-swap bytesize crossbeam-channel crossbeam-utils env_logger humantime ipnet jiff log prometheus-client serde serde_json strsim toml
    tokio toml_parser twox-hash crc32c)
home=target/mutants/rooms
mkdir -p "$home/src" "$home/tests"
rm -rf "$home"/src/* "$home"/tests/*
for room in "${lowest[@]}"; do cp -r src/"$room"* "$home/src/"; done
cp -r tests/config.rs tests/config tests/configs tests/simulation.rs tests/simulation "$home/tests/"
cp lb.toml Cargo.lock "$home/"
{
    echo '//! The lowest rooms of lb, for mutation testing.'
    for room in "${lowest[@]}"; do
        if [[ $room == sync ]]; then echo 'mod sync;'; else echo "pub mod $room;"; fi
    done
} >"$home/src/lib.rs"
echo '#![allow(clippy::unwrap_used)] mod config; mod simulation;' >"$home/tests/main.rs"
echo 'fn main() {}' >"$home/src/nothing.rs" # tests/config.rs names the program; the tests that run it are left out
{
    sed -n '/^\[package\]/,/^description/p' Cargo.toml
    printf 'autobins = false\nautotests = false\n[workspace]\n[[bin]]\nname = "lb"\npath = "src/nothing.rs"\n'
    printf '[[test]]\nname = "suite"\npath = "tests/main.rs"\n[dependencies]\n'
    for crate in "${crates[@]}"; do grep -E "^$crate = " Cargo.toml; done
    printf '[dev-dependencies]\n'
    grep -E '^(proptest|tempfile) = ' Cargo.toml
    printf '[profile.dev]\nopt-level = 1\ndebug = false\n'
} >"$home/Cargo.toml"

files=()
for room in "${rooms[@]}"; do
    if [[ " ${lowest[*]} " != *" $room "* ]]; then
        echo "mutants.sh: $room found; allowed: ${lowest[*]}" >&2
        exit 2
    fi
    files+=(--file "src/$room.rs" --file "src/$room/**")
done
# In place: it is a copy. What takes long and finds nothing here is left out: a storm of threads, and what runs the program.
code=0
PROPTEST_CASES=${PROPTEST_CASES:-64} cargo mutants --dir "$home" --in-place --output target/mutants --no-shuffle --colors never \
    --minimum-test-timeout 30 "${files[@]}" "${shard[@]}" \
    -- --lib --test suite -- --skip sixteen_storming --skip check_prints --skip run_refuses --skip a_missing_file || code=$?
# 2: some were missed; 3: some ran out of time. Anything else is no result.
if ((code != 0 && code != 2 && code != 3)); then exit "$code"; fi

found=target/mutants/mutants.out
count() { wc -l <"$found/$1.txt"; }
caught=$(($(count caught) + $(count timeout)))
viable=$((caught + $(count missed)))
echo
echo "mutants.sh: ${rooms[*]}: $viable mutants that compile: $(count caught) caught, $(count timeout) ran out of time (caught as well), \
$(count missed) missed; $(count unviable) don't compile"
if ((viable > 0 && caught * 100 < wanted * viable)); then
    echo "mutants.sh: $((caught * 100 / viable)) % caught, wanted $wanted % or more" >&2
    exit 1
fi
