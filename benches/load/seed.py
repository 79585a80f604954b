"""Copies an order that was placed once, so that a database has as many payable orders as a load of distinct notifications needs.

Placing each by HTTP would take longer than the measurement. The copies differ in their numbers and tokens alone; none is polled before
its expiry, the latest time that is not taken for another clock's. Works on the service's databases and on the peer's.
"""

import argparse
import sqlite3
import subprocess

# What differs between a copy and its model, by column.
SERVICE = {
    "orders": {
        "order_no": "{number}",
        "order_token": "{token}",
        "content": "replace(o.content, '{model}', {number})",
        "next_query_at_ms": "o.expires_at_ms",
    },
    "attempts": {"out_trade_no": "{number}", "params": "replace(o.params, '{model}', {number})"},
}
# Of orders that a load placed before: their first questions would fall into the next load.
LATER = "UPDATE orders SET next_query_at_ms = expires_at_ms WHERE next_query_at_ms < expires_at_ms"
PEER = {"orders": {"out_trade_no": "{number}"}}

DIALECTS = {
    "sqlite": {
        "number": "'{prefix}' || printf('%010d', s.n)",
        "token": "lower(hex(randomblob(16)))",
        "series": "(WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n + 1 < {count}) SELECT n FROM s) s",
    },
    "postgres": {
        "number": "'{prefix}' || lpad(s.n::text, 10, '0')",
        "token": "md5(random()::text || s.n)",
        "series": "generate_series(0, {count} - 1) AS s(n)",
    },
}


def statement(kind, table, columns, changes, model, prefix, count):
    """`columns` without the row's own number, which the database gives."""
    dialect = {name: text.format(prefix=prefix, count=count) for name, text in DIALECTS[kind].items()}
    values, given = dict(model=model, **dialect), []
    source, where = f"{table} o CROSS JOIN {dialect['series']}", f"o.{'order_no' if 'order_no' in changes else 'out_trade_no'} = '{model}'"
    for column in columns:
        if table == "attempts" and column == "order_id":
            given.append("c.id")
        else:
            given.append(changes[column].format(**values) if column in changes else f"o.{column}")
    if table == "attempts":
        source += f" JOIN orders c ON c.order_no = {dialect['number']}"
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(given)} FROM {source} WHERE {where}"


def seed(database, system, model, prefix, count):
    tables = PEER if system == "peer" else SERVICE
    if database.startswith("sqlite:"):
        connection = sqlite3.connect(database.removeprefix("sqlite://"), timeout=60)
        with connection:
            connection.execute(LATER)
            for table, changes in tables.items():
                columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "id"]
                connection.execute(statement("sqlite", table, columns, changes, model, prefix, count))
        connection.close()
        return
    psql = ["psql", "-qAtX", "-v", "ON_ERROR_STOP=1", database, "-c"]
    if system == "service":
        subprocess.run([*psql, LATER], check=True)
    for table, changes in tables.items():
        names = f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'id'"
        columns = subprocess.run([*psql, names], check=True, capture_output=True, text=True).stdout.split()
        subprocess.run([*psql, statement("postgres", table, columns, changes, model, prefix, count)], check=True)
    subprocess.run([*psql, "ANALYZE"], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--database", required=True)
    parser.add_argument("--system", choices=["peer", "service"], required=True)
    parser.add_argument("--model", required=True, help="the number of the order that is copied")
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args()
    seed(options.database, options.system, options.model, options.prefix, options.count)


if __name__ == "__main__":
    main()
