"""What tests/seeded-faults.sh needs to know of the list, and the change of the tree.

seeded_faults.py LIST batches MOST AREA...   lines of the numbers of faults that are built together
seeded_faults.py LIST apply TREE NUMBER...   puts the faults into the tree
seeded_faults.py LIST tests NUMBER           the filters of the tests that must notice it
seeded_faults.py LIST show NUMBER            a line for people
"""

import itertools
import pathlib
import re
import sys
import tomllib

# Their tests run no code of each other's faults.
TOGETHER = ["decide", "refund_decide", "outcome", "consumer"]


def batches(faults, most, areas):
    numbers = {area: [i for i, f in enumerate(faults) if f["area"] == area][:most] for area in areas}
    together = itertools.zip_longest(*(numbers.get(area, []) for area in TOGETHER))
    yield from ([i for i in batch if i is not None] for batch in together)
    yield from ([i] for area in areas if area not in TOGETHER for i in numbers[area])


def apply(tree, fault):
    places = []
    for path in sorted(pathlib.Path(tree, "src").rglob("*.rs")):
        text = path.read_text()
        for function in re.finditer(rf"^( *).*fn {fault['function']}[(<]", text, re.MULTILINE):
            end = text.index(f"\n{function[1]}}}", function.start())
            found = re.finditer(re.escape(fault["find"]), text[function.start() : end])
            places += [(path, text, function.start() + place.start()) for place in found]
    if len(places) != 1:
        sys.exit(f"{fault['function']}: {fault['find']!r} stands {len(places)} times")
    path, text, at = places[0]
    path.write_text(text[:at] + fault["replace"] + text[at + len(fault["find"]) :])


def main():
    path, command, *rest = sys.argv[1:]
    faults = tomllib.loads(pathlib.Path(path).read_text())["fault"]
    if command == "batches":
        for batch in batches(faults, int(rest[0]), rest[1:]):
            print(*batch)
    elif command == "apply":
        for number in rest[1:]:
            apply(rest[0], faults[int(number)])
    elif command == "tests":
        print(faults[int(rest[0])]["tests"])
    elif command == "show":
        fault = faults[int(rest[0])]
        print(f"{fault['area']}::{fault['function']}: {fault['find']} -> {fault['replace'] or 'nothing'}")


main()
