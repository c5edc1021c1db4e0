#!/usr/bin/env bash
# What the programs are built from, as CycloneDX (JSON), below target/sbom/. Needs cargo-cyclonedx: cargo install cargo-cyclonedx --locked
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=target/sbom
mkdir -p "$folder"
# The same sources give the same file: without it there would be a random serial number and the time.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
# It writes beside Cargo.toml, and only there.
cargo cyclonedx --format json --describe crate --target x86_64-unknown-linux-gnu --override-filename lb-sbom
mv lb-sbom.json "$folder/lb.cdx.json"
python3 - "$folder/lb.cdx.json" <<'END'
import json, sys
bom = json.load(open(sys.argv[1]))
print(f"{sys.argv[1]}: CycloneDX {bom['specVersion']}, {len(bom['components'])} components")
END
