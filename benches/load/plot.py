"""Draws what benches/load/run.sh --results kept: rates by connections and system, as an SVG on standard output.

    python3 benches/load/plot.py RESULTS >docs/performance.svg
"""

import json
import sys

PANELS = [("notifications", "notifications accepted /s"), ("settled", "notifications settled /s"),
          ("orders", "orders with pay parameters /s")]
COLOURS = ["#718096", "#2b6cb0", "#2f855a"]
LEFT, TOP, WIDE, TALL, GAP = 20, 60, 330, 190, 30


def closed_loops(file):
    """Rates of the closed loops: by measure, by connections, by system."""
    found = {}
    for line in file:
        result = json.loads(line)
        measure, _, callers = result["measure"].partition(" @")
        if callers:
            found.setdefault(measure, {}).setdefault(int(callers), {})[result["system"]] = result["per_second"]
    return found


def panel(title, by_callers, systems, x):
    """Bars of one measure, those of as many connections side by side; on each its ratio to the peer's."""
    base = TOP + TALL
    yield f'<text x="{x}" y="{TOP - 20}" font-weight="bold">{title}</text>'
    yield f'<line x1="{x}" y1="{base}" x2="{x + WIDE}" y2="{base}" stroke="#333"/>'
    most = max(rate for rates in by_callers.values() for rate in rates.values())
    room = WIDE / len(by_callers)
    bar = (room - 12) / len(systems)
    for n, (callers, rates) in enumerate(sorted(by_callers.items())):
        left = x + n * room + 6
        yield f'<text x="{left + room / 2 - 6:.0f}" y="{base + 16}" text-anchor="middle">{callers} connections</text>'
        for k, system in enumerate(system for system in systems if system in rates):
            tall = max(1, rates[system] / most * (TALL - 30))
            at, top = left + k * bar, base - tall
            yield (f'<rect x="{at:.1f}" y="{top:.1f}" width="{bar - 2:.1f}" height="{tall:.1f}" '
                   f'fill="{COLOURS[systems.index(system) % len(COLOURS)]}"><title>{system}: {rates[system]:,.0f} /s</title></rect>')
            says = f"{rates[system] / rates['peer']:.1f}×" if system != "peer" and "peer" in rates else f"{rates[system]:,.0f}"
            yield f'<text x="{at + bar / 2 - 1:.1f}" y="{top - 4:.1f}" text-anchor="middle" font-size="10">{says}</text>'


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        found = closed_loops(file)
    systems = list(dict.fromkeys(system for by in found.values() for rates in by.values() for system in rates))
    width, height = 2 * LEFT + len(PANELS) * WIDE + (len(PANELS) - 1) * GAP, TOP + TALL + 30
    marks = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="#fff"/>']
    for k, system in enumerate(systems):
        x = LEFT + k * 170
        marks.append(f'<rect x="{x}" y="10" width="10" height="10" fill="{COLOURS[k % len(COLOURS)]}"/>')
        marks.append(f'<text x="{x + 16}" y="19">{system}</text>')
    for n, (measure, title) in enumerate(PANELS):
        if measure in found:
            marks += panel(title, found[measure], systems, LEFT + n * (WIDE + GAP))
    print("\n".join([*marks, "</svg>"]))


if __name__ == "__main__":
    main()
