#!/usr/bin/env bash
# Builds the release twice, from two copies of the commit in two folders, and compares the programs bit by bit. Exit 0 only if they are
# the same. Takes two release builds, some minutes each.
#
#   scripts/reproduce.sh             what is committed
#   scripts/reproduce.sh --keep      leaves the programs of the first build below target/reproduced/
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

keep=no
while (($#)); do
    case $1 in
        --keep) keep=yes ;;
        -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "reproduce.sh: $1 found; allowed: --keep, --help" >&2; exit 2 ;;
    esac
    shift
done

programs=(lb tcp_server client)
root=$(mktemp -d "${TMPDIR:-/tmp}/lb-reproduce.XXXXXX")
trap 'rm -rf "$root"' EXIT
cargo_home=${CARGO_HOME:-$HOME/.cargo}
if ! git diff --quiet HEAD; then
    echo "reproduce.sh: what isn't committed is left out" >&2
fi

build() {
    # Names of folders stand in messages of panics and in line tables: they are replaced by the same ones.
    local source=$1
    mkdir -p "$source"
    git archive HEAD | tar -x -C "$source"
    (
        cd "$source"
        SOURCE_DATE_EPOCH=$(git -C "$OLDPWD" log -1 --format=%ct)
        export SOURCE_DATE_EPOCH
        unset CARGO_TARGET_DIR CARGO_ENCODED_RUSTFLAGS
        export RUSTFLAGS="--remap-path-prefix=$source=/lb --remap-path-prefix=$cargo_home=/cargo"
        cargo build --release --locked --quiet --bins
    )
}

echo "building in two folders below $root; $(rustc --version)"
build "$root/one"
# Another length of path too: it must not matter.
build "$root/another/folder/of/another/length"

status=0
for program in "${programs[@]}"; do
    first=$root/one/target/release/$program
    second=$root/another/folder/of/another/length/target/release/$program
    if cmp "$first" "$second"; then
        printf 'same: %s  %s\n' "$(sha256sum <"$first" | cut -d' ' -f1)" "$program"
    else
        status=1
    fi
done
if [[ $keep = yes ]]; then
    mkdir -p target/reproduced
    cp "${programs[@]/#/$root/one/target/release/}" target/reproduced/
fi
exit "$status"
