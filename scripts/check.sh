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

manifests=(Cargo.toml fuzz/Cargo.toml tests/loom/Cargo.toml)
for manifest in "${manifests[@]}"; do
    step cargo fmt --check --manifest-path "$manifest"
    # The lock files of the small ones follow the first, or CI builds nothing.
    step cargo tree --quiet --locked --depth 0 --manifest-path "$manifest"
done
step cargo clippy --all-targets --locked -- -D warnings
RUSTDOCFLAGS="-D warnings" step cargo doc --no-deps --document-private-items --locked

if cargo deny --version >/dev/null 2>&1; then
    deny() { step cargo deny --locked --manifest-path "$1" --config .deny.toml check "${@:2}"; }
    for manifest in "${manifests[@]}"; do deny "$manifest" licenses bans sources; done
    # The advisories (RustSec) are a git repository outside the registries: not every machine may reach it.
    if fetched=$(timeout 120 cargo deny --locked fetch db 2>&1); then
        for manifest in "${manifests[@]}"; do deny "$manifest" advisories; done
    else
        skipped "cargo deny check advisories: the advisory database can't be fetched: ${fetched##*$'\n'}"
    fi
else
    skipped "cargo deny: not installed; cargo install cargo-deny --locked"
fi

# The same database, read by its own tool: a second opinion, which also looks at what is not for our targets.
if cargo audit --version >/dev/null 2>&1; then
    if fetched=$(timeout 120 git ls-remote --quiet https://github.com/RustSec/advisory-db HEAD 2>&1); then
        for manifest in "${manifests[@]}"; do step cargo audit --deny warnings --file "${manifest%.toml}.lock"; done
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
