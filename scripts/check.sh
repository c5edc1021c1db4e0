#!/usr/bin/env bash
# The one gate for everything but tests: format, lints, documentation, dependencies, shell scripts. CI calls it (.ci/run); so can you.
# Stops at the first failure. What can't be checked on this machine is printed as "skipped: ..." with its reason.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
    printf '\n== %s\n' "$*"
    "$@"
}

skipped() {
    printf '\nskipped: %s\n' "$*"
}

step cargo fmt --check
step cargo fmt --check --manifest-path fuzz/Cargo.toml
step cargo fmt --check --manifest-path tests/loom/Cargo.toml
# Their lock files follow the one here, or CI builds nothing.
step cargo tree --quiet --locked --depth 0 --manifest-path fuzz/Cargo.toml
step cargo tree --quiet --locked --depth 0 --manifest-path tests/loom/Cargo.toml
step cargo clippy --all-targets --locked -- -D warnings
RUSTDOCFLAGS="-D warnings" step cargo doc --no-deps --document-private-items --locked

if cargo deny --version >/dev/null 2>&1; then
    step cargo deny --locked check licenses bans sources
    # The advisories (RustSec) are a git repository outside the registries: not every machine may reach it.
    if fetched=$(timeout 120 cargo deny --locked fetch db 2>&1); then
        step cargo deny --locked check --disable-fetch advisories
    else
        skipped "cargo deny check advisories: the advisory database can't be fetched: ${fetched##*$'\n'}"
    fi
else
    skipped "cargo deny: not installed; cargo install cargo-deny --locked"
fi

# The same database, read by its own tool: a second opinion, which also looks at what is not for our targets.
if cargo audit --version >/dev/null 2>&1; then
    if fetched=$(timeout 120 git ls-remote --quiet https://github.com/RustSec/advisory-db HEAD 2>&1); then
        step cargo audit --deny warnings --file Cargo.lock
    else
        skipped "cargo audit: the advisory database can't be fetched: ${fetched##*$'\n'}"
    fi
else
    skipped "cargo audit: not installed; cargo install cargo-audit --locked"
fi

step scripts/sbom.sh

mapfile -t scripts < <(git ls-files -- '*.sh' .ci/run)
if command -v shellcheck >/dev/null; then
    step shellcheck "${scripts[@]}"
else
    skipped "shellcheck: not installed; apt-get install shellcheck"
fi
for script in "${scripts[@]}"; do
    step bash -n "$script"
done

printf '\nevery check passed\n'
