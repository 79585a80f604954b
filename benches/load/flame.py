"""A flame graph from what `perf script` prints: an SVG without scripts on standard output, the largest self times on standard error.

    perf record -F 199 --call-graph dwarf,16384 -p PID -- sleep 5
    perf script --no-inline -F comm,pid,tid,event,ip,sym,dso | python3 benches/load/flame.py --title "orders" >orders.svg

A frame is as wide as its share of the samples; what it called stands above it, the widest first. The kind of a frame is the program
or the crate that it is in: the share of a kind is its self time, that is, of the samples whose topmost frame is of the kind.
"""

import argparse
import collections
import functools
import html
import re
import sys

WIDTH, MARGIN, ROW, FONT = 1200, 10, 16, 11
# Of a monospace font, of any browser.
CHARACTER = 0.61 * FONT
# Neither is drawn: less of all samples, narrower in pixels.
LEAST_SHARE, LEAST_WIDTH = 0.002, 0.3
MOST_BYTES = 300_000
LONGEST_NAME = 110

OURS, SQLITE, SERVERS, KERNEL, LIBC, OTHER = KINDS = (
    "wxpay_worker", "SQLite", "PostgreSQL, NATS", "kernel", "libc, allocator", "other crates, std")
COLOURS = dict(zip(KINDS, ("#ff9d5c", "#7fb2ec", "#c3a5e8", "#f2a3a3", "#f0d264", "#a5d6a0")))
BASE_COLOUR = "#dddddd"

CRATES = {
    OURS: {"wxpay_worker", "wxpayd", "wxpayctl", "migrations"},
    SQLITE: {"rusqlite", "libsqlite3_sys", "sqlx_sqlite"},
    SERVERS: {"sqlx_postgres", "async_nats"},
}
SERVER_PROGRAMS = re.compile(r"(postgres|nats-server[\w.-]*)$")
C_LIBRARY = re.compile(r"(\[vdso\]|\[vsyscall\]|(libc|ld-linux|ld-musl|libm|libpthread|libgcc_s|libstdc\+\+|lib\w*malloc)\b.*)$")
ALLOCATOR = re.compile(r"_{0,2}mi_|_rjem_|__rust_\w*alloc|__rdl_|__rg_|(malloc|calloc|realloc|free|memcpy|memset|memmove)$")
# SQLite's own functions where the stack does not show that one of the library's public functions called them.
SQLITE_FUNCTION = re.compile(r"sqlite3|(pcache1?|wal|vdbe|btree|pager|unix|memdb|memjrnl|whereLoop|whereRange|pthreadMutex)([A-Z]|$)"
                             r"|balance|(insert|free|allocate|get|modify|release|clear)(Cell|Page|Btree|Cursor)|jsonb?[A-Z]|fts5")

# A thread's name may end in a number: the slash is sought first, which is missing where only the thread's number is printed.
HEADERS = [re.compile(r"(?P<thread>\S.*?)\s+(?P<pid>-?\d+)/(?P<tid>-?\d+)\s.*:\s*$"),
           re.compile(r"(?P<thread>\S.*?)\s+(?P<pid>)(?P<tid>-?\d+)\s.*:\s*$")]
FRAME = re.compile(r"\s+(?P<ip>[0-9a-f]+) (?P<symbol>.+) \((?P<dso>[^()]*(?: \(deleted\))?)\)$")

Frame = collections.namedtuple("Frame", "name kind")


class Node:
    def __init__(self):
        self.samples = 0
        self.children = {}


def samples(lines):
    """For each sample its thread's name, process and thread number, and its frames (address, symbol, file), the innermost first."""
    header, frames = None, []
    for line in lines:
        line = line.rstrip("\n")
        if header and (frame := FRAME.match(line)):
            symbol = re.sub(r"\+0x[0-9a-f]+$", "", frame["symbol"])
            frames.append((int(frame["ip"], 16), symbol, frame["dso"].removesuffix(" (deleted)")))
        elif not line.strip() or not line[0].isspace():
            if header:
                yield header["thread"], int(header["pid"] or 0), int(header["tid"]), frames
            header, frames = next(filter(None, (form.match(line) for form in HEADERS)), None), []
    if header:
        yield header["thread"], int(header["pid"] or 0), int(header["tid"]), frames


def program_names(taken, given):
    """By process number: the name it was given, or that of its first thread, which is the program's."""
    return {pid: thread for thread, pid, tid, _ in taken if pid == tid and pid} | given


@functools.cache
def kind_of(ip, symbol, dso, caller):
    """`caller` is the kind of the frame that called this one."""
    file = dso.rpartition("/")[2]
    if C_LIBRARY.match(file):
        return LIBC
    if file.startswith("[") and file not in ("[unknown]", "[heap]", "[stack]", "[JIT]") or ip >= 0xFFFF_8000_0000_0000:
        return KERNEL
    if SERVER_PROGRAMS.match(file):
        return SERVERS
    if ALLOCATOR.match(symbol):
        return LIBC
    # The first crate that is named; how a value is dropped belongs to its type.
    named = re.search(r"\b([A-Za-z_]\w*)::", symbol.removeprefix("core::ptr::drop_in_place"))
    if named:
        return next((kind for kind, crates in CRATES.items() if named[1] in crates), OTHER)
    if SQLITE_FUNCTION.match(symbol) or file.startswith("libsqlite3") or caller == SQLITE and "aws_lc" not in symbol:
        return SQLITE
    return OTHER


def depths(name):
    """Of each character: how many angle brackets it is in; the brackets themselves count as inside."""
    found, depth = [], 0
    for character in name:
        depth += character == "<"
        found.append(depth)
        depth -= character == ">"
    return found


@functools.cache
def shortened(symbol):
    """Without the hash; inside of angle brackets only the last part of a path, and of a name that is long still only the outer ones."""
    name = re.sub(r"::h[0-9a-f]{16}(?=$|\.| )", "", symbol)
    name = re.sub(r"(\.llvm\.\d+|\.(constprop|isra|part)\.\d+|\.cold(\.\d+)?|@@?GLIBC\w*[\w.]*)+$", "", name)
    name = re.sub(r"\{\{([^{}]*)\}\}", r"{\1}", name)
    name = re.sub(r"^<([\w:]+)>::", r"\1::", name.replace("->", "→"))
    inside = depths(name)

    def last_part(match):
        # The type whose function it is keeps its path, which says whose it is.
        is_type = re.fullmatch(r"<[<&*(\[]*(mut |const |dyn )*", name[:match.start()])
        return match[0] if is_type or not inside[match.start()] else ""

    name = re.sub(r"(?<![\w:}])(?:(?:\w+|\{[^{}]*\}|<impl [^<>]*>)::)+(?=\w)", last_part, name)
    # Arguments of generics, the innermost first, in brackets that are not met again.
    while len(name) > LONGEST_NAME and (fewer := re.sub(r"(?<=.)<[^<>]+>", "‹…›", name)) != name:
        name = fewer
    name = name.replace("‹", "<").replace("›", ">")
    return name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME // 2] + "…" + name[-LONGEST_NAME // 2 + 1:]


def folded(program, thread, frames):
    """From the program outwards, calls of a function by itself included."""
    stack = [Frame(program, None)] + ([Frame(thread, None)] if thread != program else [])
    outermost = len(frames)
    # Where unwinding went astray.
    while outermost and frames[outermost - 1][1:] == ("[unknown]", "[unknown]"):
        outermost -= 1
    caller = None
    for ip, symbol, dso in reversed(frames[:outermost]):
        caller = kind_of(ip, symbol, dso, caller)
        name = "[" + dso.rpartition("/")[2].strip("[]") + "]" if symbol == "[unknown]" else shortened(symbol)
        stack.append(Frame(name, caller))
    if caller is None:
        stack.append(Frame("[no stack]", OTHER))
    return tuple(stack)


def tree(stacks):
    root = Node()
    for stack, count in stacks.items():
        node = root
        node.samples += count
        for frame in stack:
            node = node.children.setdefault(frame, Node())
            node.samples += count
    return root


def label(name, width):
    """What of a name fits: the end of a path says more than its beginning."""
    fits = int((width - 6) / CHARACTER)
    if fits < 3:
        return ""
    shorter = [name, re.sub(r"^<([&*(\[]*)(?:\w+::)+", r"<\1", name)]
    inside = depths(name)
    starts = [at + 2 for at in range(len(name) - 2) if name[at:at + 2] == "::" and not inside[at] and name[at + 2] != "{"]
    shorter += [name[at:] for at in starts]
    return next((text for text in shorter if len(text) <= fits), shorter[-1][:fits - 1] + "…")


def frame_marks(frame, samples_of, total, left, top, width):
    says = html.escape(f"{frame.name} ({samples_of:,} samples, {samples_of / total:.1%})", quote=False)
    kind = f"k{KINDS.index(frame.kind)}" if frame.kind else "b"
    text = html.escape(label(frame.name, width), quote=False)
    text = text and f'<text x="{left + 3:.1f}" y="{top + ROW - 4.5:.1f}">{text}</text>'
    return f'<g><title>{says}</title><rect class="{kind}" x="{left:.1f}" y="{top}" width="{width:.2f}" height="{ROW - 1}"/>{text}</g>'


def legend_marks(by_kind, total, top):
    """One row, or more if they are too long; and where the last one ends."""
    marks, left = [], MARGIN
    for number, kind in enumerate(KINDS):
        text = f"{kind} {by_kind[kind] / total:.1%}"
        width = 16 + len(text) * CHARACTER + 18
        if left + width > WIDTH - MARGIN:
            left, top = MARGIN, top + ROW + 2
        marks.append(f'<rect class="k{number}" x="{left:.1f}" y="{top}" width="12" height="12"/>')
        marks.append(f'<text x="{left + 16:.1f}" y="{top + 10}">{html.escape(text)}</text>')
        left += width
    return marks, top + ROW


def svg(root, by_kind, title, depth, least_share):
    legend, top = legend_marks(by_kind, root.samples, 38)
    frames, deepest, scale = [], 0, (WIDTH - 2 * MARGIN) / root.samples
    least = max(LEAST_WIDTH / scale, least_share * root.samples)
    todo = [(root, MARGIN, 0)]
    while todo:
        node, left, level = todo.pop()
        deepest = max(deepest, level)
        for frame, child in sorted(node.children.items(), key=lambda item: (-item[1].samples, item[0].name)):
            if child.samples >= least and level < depth:
                frames.append((frame, child.samples, left, level))
                todo.append((child, left, level + 1))
            left += child.samples * scale
    height = top + 8 + deepest * ROW + MARGIN
    floor = height - MARGIN - ROW
    styles = [f".k{number}{{fill:{COLOURS[kind]}}}" for number, kind in enumerate(KINDS)] + [f".b{{fill:{BASE_COLOUR}}}"]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="monospace" font-size="{FONT}">',
        f"<title>{html.escape(title)}</title>",
        f"<style>text{{fill:#111}}rect{{stroke:#fff;stroke-width:.4}}{''.join(styles)}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{MARGIN}" y="22" font-size="16">{html.escape(title)}: {root.samples:,} samples, self time by kind</text>',
        *legend,
        *(frame_marks(frame, count, root.samples, left, floor - level * ROW, count * scale) for frame, count, left, level in frames),
        "</svg>", ""])


def small_enough(*arguments):
    """Leaves out more than it must where the file would be too large otherwise."""
    least_share = LEAST_SHARE
    while len((picture := svg(*arguments, least_share)).encode()) >= MOST_BYTES:
        least_share *= 1.25
    return picture


def table(stacks, total):
    own = collections.Counter()
    for stack, count in stacks.items():
        own[stack[-1]] += count
    rows = ["| self time | samples | kind | symbol |", "|---:|---:|---|---|"]
    for frame, count in own.most_common(25):
        name = frame.name.replace("|", "\\|")
        rows.append(f"| {count / total:.1%} | {count:,} | {frame.kind} | `{name}` |")
    return "\n".join(rows)


def numbers(text):
    return {int(pid): name for name, pid in (pair.split("=") for pair in text.split(","))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--title", default="CPU time", help="heads the picture")
    parser.add_argument("--comm", metavar="NAME", help="only the program, or the threads, of this name")
    parser.add_argument("--depth", type=int, default=200, help="so many frames above each other at most")
    parser.add_argument("--pids", type=numbers, default={}, metavar="NAME=NUMBER,…", help="names processes")
    options = parser.parse_args()
    sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    taken = list(samples(sys.stdin))
    programs = program_names(taken, options.pids)
    stacks = collections.Counter()
    for thread, pid, _, frames in taken:
        program = programs.get(pid, thread)
        if options.comm in (None, program, thread):
            stacks[folded(program, thread, frames)] += 1
    if not stacks:
        sys.exit(f"no samples{options.comm and f' of {options.comm}' or ''}: standard input is to be what `perf script -F comm,pid,tid,event,ip,sym,dso` prints")
    by_kind = collections.Counter()
    for stack, count in stacks.items():
        by_kind[stack[-1].kind] += count
    root = tree(stacks)
    sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write(small_enough(root, by_kind, options.title, options.depth))
    print(table(stacks, root.samples), file=sys.stderr)


if __name__ == "__main__":
    main()
