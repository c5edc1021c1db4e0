"""Prints each Autobahn case with its result and how it closed, of one index.json or more: the last that has a case counts.
The last line sums up.

OK and NON-STRICT both are "pass": which of them it is, for some cases changes from one run to the next, whoever is in between. It is
whether the server still answers what came before a violation.
"""

import collections
import json
import pathlib
import sys

cases = {}
for path in map(pathlib.Path, sys.argv[1:]):
    if path.exists():
        (found,) = json.loads(path.read_text(encoding="utf-8")).values()
        cases |= found
for case in cases.values():
    if case["behavior"] in ("OK", "NON-STRICT"):
        case["behavior"] = "pass"
for name in sorted(cases, key=lambda name: [int(part) for part in name.split(".")]):
    print(name, cases[name]["behavior"], cases[name]["behaviorClose"], cases[name]["remoteCloseCode"])
counts = collections.Counter(case["behavior"] for case in cases.values())
failed = [name for name, case in cases.items() if case["behavior"] == "FAILED"]
print(f"{len(cases)} cases:", ", ".join(f"{count} {name.lower()}" for name, count in sorted(counts.items(), key=lambda item: -item[1])), *(["which:", *failed] if failed else []))
