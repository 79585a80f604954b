"""What a load cost: CPU time by process, and the database's own counts. Read before and after a load; the difference is its cost."""

import argparse
import json
import os
import subprocess

TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")


def processes():
    """By number: its parent, and the CPU time of it and of its children that have ended, in microseconds."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(name)] = (int(fields[1]), sum(map(int, fields[11:15])) * TICK_US)
    return found


def cpu_us(pid):
    """Of a process and everything under it."""
    all_of, total, todo = processes(), 0, [pid]
    while todo:
        one = todo.pop()
        total += all_of.get(one, (0, 0))[1]
        todo.extend(child for child, (parent, _) in all_of.items() if parent == one)
    return total


def ask(database, query):
    return subprocess.run(["psql", "-qAtX", database, "-c", query], check=True, capture_output=True, text=True).stdout.strip()


def postgres_counts(database):
    """Transactions that committed, and fsyncs of the log, of the whole server."""
    syncs = "SELECT wal_sync FROM pg_stat_wal"
    if int(ask(database, "SHOW server_version_num")) >= 180000:
        syncs = "SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'"
    commits = ask(database, "SELECT sum(xact_commit) FROM pg_stat_database")
    return {"transactions": int(commits), "fsyncs": int(ask(database, syncs) or 0)}


def snapshot(pids, database):
    """`pids` by name."""
    counts = postgres_counts(database) if database.startswith("postgres") else {}
    return {"cpu_us": {name: cpu_us(pid) for name, pid in pids.items()}, "counts": counts}


def cost(before, after, operations):
    """By operation."""
    operations = max(operations, 1)
    cpu = {name: round((after["cpu_us"][name] - us) / operations, 1) for name, us in before["cpu_us"].items()}
    counts = {name: round((after["counts"][name] - count) / operations, 3) for name, count in before["counts"].items()}
    return {"cpu_us": cpu, **counts}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("snapshot", help="prints the counts of now")
    command.add_argument("--pids", required=True, help="name=number,…")
    command.add_argument("--database", required=True)
    command = commands.add_parser("cost", help="adds to what a load said what it cost")
    command.add_argument("--before", required=True)
    command.add_argument("--after", required=True)
    command.add_argument("--load", required=True)
    options = parser.parse_args()
    if options.command == "snapshot":
        pids = {name: int(pid) for name, pid in (pair.split("=") for pair in options.pids.split(","))}
        print(json.dumps(snapshot(pids, options.database)))
    else:
        with open(options.before, encoding="utf-8") as before, open(options.after, encoding="utf-8") as after:
            result = json.loads(options.load)
            print(json.dumps({**result, **cost(json.load(before), json.load(after), result["good"])}))


if __name__ == "__main__":
    main()
