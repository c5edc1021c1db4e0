#!/usr/bin/env bash
# What the programs are built from, as CycloneDX 1.5 (JSON), in target/sbom/lb.cdx.json: each crate with version, licence, source and
# checksum, and who needs whom; without what only tests need. Of Cargo.lock and cargo's own graph; the same commit gives the same file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mkdir -p target/sbom
metadata=$(mktemp "${TMPDIR:-/tmp}/lb-sbom.XXXXXX")
trap 'rm -f "$metadata"' EXIT
cargo metadata --locked --format-version 1 --filter-platform x86_64-unknown-linux-gnu >"$metadata"
python3 - "$metadata" target/sbom/lb.cdx.json <<'END'
import json
import sys
import tomllib

with open(sys.argv[1], encoding="utf-8") as file:
    graph = json.load(file)
with open("Cargo.lock", "rb") as file:
    locked = {(one["name"], one["version"]): one.get("checksum") for one in tomllib.load(file)["package"]}
packages = {one["id"]: one for one in graph["packages"]}
needs = {
    node["id"]: sorted(
        dep["pkg"] for dep in node["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])
    )
    for node in graph["resolve"]["nodes"]
}
root = graph["resolve"]["root"]
found, left = set(), [root]
while left:
    package = left.pop()
    if package not in found:
        found.add(package)
        left.extend(needs[package])


def purl(package):
    return f"pkg:cargo/{packages[package]['name']}@{packages[package]['version']}"


def component(package, kind):
    one = packages[package]
    said = {
        "type": kind,
        "bom-ref": purl(package),
        "name": one["name"],
        "version": one["version"],
        "purl": purl(package),
        "scope": "required",
    }
    if one["license"]:
        # Old crates write "MIT/Apache-2.0", which SPDX calls MIT OR Apache-2.0.
        said["licenses"] = [{"expression": one["license"].replace("/", " OR ")}]
    checksum = locked.get((one["name"], one["version"]))
    if checksum:
        said["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if one["source"]:
        said["externalReferences"] = [{"type": "distribution", "url": one["source"].removeprefix("registry+")}]
    return said


order = sorted(found - {root}, key=purl)
bom = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "version": 1,
    "metadata": {"component": component(root, "application")},
    "components": [component(package, "library") for package in order],
    "dependencies": [
        {"ref": purl(package), "dependsOn": sorted({purl(need) for need in needs[package]})}
        for package in sorted(found, key=purl)
    ],
}
missing = [one["purl"] for one in bom["components"] if "hashes" not in one or "licenses" not in one]
with open(sys.argv[2], "w", encoding="utf-8") as file:
    json.dump(bom, file, indent=1)
    file.write("\n")
print(f"{sys.argv[2]}: CycloneDX {bom['specVersion']}, {len(order)} crates")
if missing:
    sys.exit(f"without checksum or licence: {', '.join(missing)}")
END
