"""Prints each Autobahn case with its result and how it closed, of an index.json; the last line sums up."""

import collections
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    (cases,) = json.load(file).values()
for name in sorted(cases, key=lambda name: [int(part) for part in name.split(".")]):
    print(name, cases[name]["behavior"], cases[name]["behaviorClose"], cases[name]["remoteCloseCode"])
counts = collections.Counter(case["behavior"] for case in cases.values())
failed = [name for name, case in cases.items() if case["behavior"] == "FAILED"]
print(f"{len(cases)} cases:", ", ".join(f"{count} {name}" for name, count in sorted(counts.items())), *(["failed:", *failed] if failed else []))
