#!/usr/bin/env bash
# Prints what the programs are made of as a CycloneDX 1.5 document: every crate that is compiled into them or runs while
# they are compiled, with its version, licence and checksum, from Cargo.lock and the crates' own manifests.
#
#   deploy/sbom.sh [TARGET] > sbom.json      default: x86_64-unknown-linux-gnu
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
target=${1:-x86_64-unknown-linux-gnu}
cargo metadata --format-version 1 --locked --filter-platform "$target" | python3 -c '
import json, sys, tomllib

metadata = json.load(sys.stdin)
with open("Cargo.lock", "rb") as lock:
    checksums = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.load(lock)["package"]}
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
root = metadata["resolve"]["root"]

def needed(node):
    # What only the tests use is not in the programs.
    return [d["pkg"] for d in node["deps"] if any(kind["kind"] != "dev" for kind in d["dep_kinds"])]

seen, queue = {root}, [root]
while queue:
    for package in needed(nodes[queue.pop()]):
        if package not in seen:
            seen.add(package)
            queue.append(package)

def purl(package):
    return "pkg:cargo/{name}@{version}".format(**package)

def component(package):
    entry = {"type": "library", "bom-ref": purl(package), "name": package["name"], "version": package["version"],
             "purl": purl(package)}
    if package["license"]:
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return entry

own = packages[root]
components = sorted((component(packages[i]) for i in seen if i != root), key=lambda c: c["bom-ref"])
dependencies = sorted(({"ref": purl(packages[i]), "dependsOn": sorted(purl(packages[d]) for d in needed(nodes[i]))}
                       for i in seen), key=lambda d: d["ref"])
json.dump({"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
           "metadata": {"component": dict(component(own), type="application")},
           "components": components, "dependencies": dependencies}, sys.stdout, indent=1)
print()
'
