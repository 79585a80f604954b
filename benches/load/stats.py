"""What a load cost: CPU time by process, and the database's own counts. Read before and after a load; the difference is its cost."""

import argparse
import json
import os
import subprocess
import time
import urllib.request

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


# What the service says of itself: each is one fsync, on PostgreSQL at the most.
GROUPS = {"commits": "wxpay_store_commits_total", "log_syncs": "wxpay_intake_syncs_total"}


def groups(addresses):
    """Transactions and groups of the intake log, of all processes. A version that does not count them has none."""
    found = {}
    for address in addresses:
        with urllib.request.urlopen(address, timeout=10) as answer:
            lines = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line and line[0] != "#")
        for name, metric in GROUPS.items():
            if metric in lines:
                found[name] = found.get(name, 0) + float(lines[metric])
    return found


def statements(database):
    """Runs of each text that PostgreSQL has seen, if it counts them (run.sh --statements)."""
    if ask(database, "SELECT count(*) FROM pg_extension WHERE extname = 'pg_stat_statements'") != "1":
        return None
    counted = "SELECT queryid || '-' || dbid, sum(calls) FROM pg_stat_statements WHERE queryid <> 0 GROUP BY 1"
    return {key: int(calls) for key, calls in (line.split("|") for line in ask(database, counted).splitlines())}


def snapshot(pids, database, addresses):
    """`pids` by name; `addresses` of the processes' metrics."""
    taken = {"cpu_us": {name: cpu_us(pid) for name, pid in pids.items()}, "counts": {}, "groups": groups(addresses)}
    if database.startswith("postgres"):
        taken["counts"] = postgres_counts(database)
        taken["statements"] = statements(database)
    return taken


def cost(before, after, operations):
    """By operation; of groups the other way round, how many operations share one."""
    operations = max(operations, 1)
    cpu = {name: round((after["cpu_us"][name] - us) / operations, 1) for name, us in before["cpu_us"].items()}
    result = {"cpu_us": cpu}
    for name, count in before["counts"].items():
        result[name] = round((after["counts"][name] - count) / operations, 3)
    for name, count in after["groups"].items():
        more = count - before["groups"].get(name, 0)
        if more > 0:
            result[f"by_{name}"] = round(operations / more, 1)
    if after.get("statements"):
        old = before.get("statements") or {}
        more = [calls - old.get(key, 0) for key, calls in after["statements"].items()]
        result["texts"] = sum(1 for calls in more if calls > 0)
        result["statements"] = round(sum(more) / operations, 2)
    return result


def memory_mb(pid):
    """What is resident of a process."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:")) / 1024


def idle(pids, database, addresses, seconds):
    """What is used while nobody asks for anything: memory, shares of a core, and what is written in a second."""
    before = snapshot(pids, database, addresses)
    time.sleep(seconds)
    after = snapshot(pids, database, addresses)
    share = {name: round((after["cpu_us"][name] - us) / seconds / 10_000, 2) for name, us in before["cpu_us"].items()}
    written = {"fsyncs": (after["counts"].get("fsyncs", 0) - before["counts"].get("fsyncs", 0)) / seconds,
               "commits": (after["groups"].get("commits", 0) - before["groups"].get("commits", 0)) / seconds}
    return {"memory_mb": {name: round(memory_mb(pid), 1) for name, pid in pids.items()}, "percent": share, "written": written}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("snapshot", help="prints the counts of now")
    command.add_argument("--pids", required=True, help="name=number,…")
    command.add_argument("--database", required=True)
    command.add_argument("--metrics", default="", help="URL,…")
    command = commands.add_parser("idle", help="prints what is used while nobody asks for anything")
    command.add_argument("--pids", required=True, help="name=number,…")
    command.add_argument("--database", required=True)
    command.add_argument("--metrics", default="", help="URL,…")
    command.add_argument("--seconds", type=int, required=True)
    command = commands.add_parser("cost", help="adds to what a load said what it cost")
    command.add_argument("--before", required=True)
    command.add_argument("--after", required=True)
    command.add_argument("--load", required=True)
    options = parser.parse_args()
    if options.command in ("snapshot", "idle"):
        pids = {name: int(pid) for name, pid in (pair.split("=") for pair in options.pids.split(","))}
        of = pids, options.database, list(filter(None, options.metrics.split(",")))
        print(json.dumps(snapshot(*of) if options.command == "snapshot" else idle(*of, options.seconds)))
    else:
        with open(options.before, encoding="utf-8") as before, open(options.after, encoding="utf-8") as after:
            result = json.loads(options.load)
            print(json.dumps({**result, **cost(json.load(before), json.load(after), result["good"])}))


if __name__ == "__main__":
    main()
