"""What tests/seeded-faults.sh needs to know of the list, and the change of the tree.

seeded_faults.py LIST apply TREE NUMBER...   puts the faults into the tree, each behind a switch
seeded_faults.py LIST numbers MOST AREA...   the numbers of the faults of these areas, at most so many of each
seeded_faults.py LIST tests NUMBER           the filters of the tests that must notice it
seeded_faults.py LIST show NUMBER            a line for people

A function with faults gets a copy of its body for each; the environment variable WXPAY_SEEDED_FAULT names the one that
runs. So all faults are built once.
"""

import collections
import pathlib
import re
import sys
import tomllib

SWITCH = '''
/// Whether this fault is to show.
#[doc(hidden)]
pub fn seeded_fault(number: u32) -> bool {
    static SHOWN: std::sync::OnceLock<Option<u32>> = std::sync::OnceLock::new();
    let shown = || std::env::var("WXPAY_SEEDED_FAULT").ok().and_then(|number| number.parse().ok());
    *SHOWN.get_or_init(shown) == Some(number)
}
'''


def body(text, start, indent):
    """Where the body of the function that begins at `start` begins and ends, its braces left out."""
    line = text[start : text.index("\n", start)]
    if line.endswith("}"):
        return text.index("{", start) + 1, start + len(line) - 1
    return text.index("{\n", start) + 1, text.index(f"\n{indent}}}", start) + 1


def place(tree, fault):
    """The file of a fault, and the body it stands in."""
    places = []
    for path in sorted(pathlib.Path(tree, "src").rglob("*.rs")):
        text = path.read_text()
        for function in re.finditer(rf"^( *).*fn {fault['function']}[(<]", text, re.MULTILINE):
            begin, end = body(text, function.start(), function[1])
            places += [(path, begin, end)] * text[begin:end].count(fault["find"])
    if len(places) != 1:
        sys.exit(f"{fault['function']}: {fault['find']!r} stands {len(places)} times")
    return places[0]


def apply(tree, faults):
    by_place = collections.defaultdict(list)
    for number, fault in faults.items():
        by_place[place(tree, fault)].append((number, fault))
    # From the end of each file on, so that the places before stay where they are.
    for (path, begin, end), there in sorted(by_place.items(), reverse=True):
        text = path.read_text()
        copies = ""
        for number, fault in there:
            faulty = text[begin:end].replace(fault["find"], fault["replace"])
            copies += f"\nif crate::seeded_fault({number}) {{ return {{ {faulty} }}; }}"
        path.write_text(text[:begin] + copies + text[begin:])
    library = pathlib.Path(tree, "src/lib.rs")
    library.write_text(library.read_text() + SWITCH)


def main():
    path, command, *rest = sys.argv[1:]
    faults = tomllib.loads(pathlib.Path(path).read_text())["fault"]
    if command == "apply":
        apply(rest[0], {int(number): faults[int(number)] for number in rest[1:]})
    elif command == "numbers":
        for area in rest[1:]:
            print(*[i for i, fault in enumerate(faults) if fault["area"] == area][: int(rest[0])])
    elif command == "tests":
        print(faults[int(rest[0])]["tests"])
    elif command == "show":
        fault = faults[int(rest[0])]
        print(f"{fault['area']}::{fault['function']}: {fault['find']} -> {fault['replace'] or 'nothing'}")


main()
