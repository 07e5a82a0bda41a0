#!/usr/bin/python3
"""Load SQLite through Python's aiosqlite, as asyncio applications use it.

    aiosqlite_load.py -s FILE [-m read|write] [-c TASKS] [-T SECONDS] [--json]

One process, one event loop, TASKS tasks that share a small pool of long-lived
connections (a task waits for a free one, the one used last is taken first, as
aiosqlitepool does it).  aiosqlite gives each connection a thread.  A read is
execute and fetchone, a write execute and commit.

It takes the arguments of the C generators (client/bench), as far as they mean
something here, does the same operations on the same table (made with
peer_direct --init), checks every answer and the sum at the end, and prints the
same JSON.

    -o pool=N                     connections, 5 (aiosqlitepool's default)
    -o synchronous=full|normal    full: an acknowledged write is on disk

Settings of a connection: WAL, 16 MB of page cache as in the daemon, busy
timeout 5 s (also sqlite3's default).  "database is locked" after that is
counted as an error and belongs to the result; any other error ends the run.
"""
from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import pathlib
import random
import resource
import sqlite3
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiosqlite

BUSY_S = 5.0
CACHE_KB = 16384
READ = "SELECT n, c FROM bench WHERE id = ?"
WRITE = "UPDATE bench SET n = n + 1 WHERE id = ?"
SUM = "SELECT sum(n), max(id), length(c) FROM bench"
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999,
               "p99.99": 0.9999}
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class LoadError(Exception):
    """Why there are no figures."""


def make_text(row: int, length: int) -> str:
    """bench_text() of client/bench/text.c."""
    filler = LETTERS[row % 26:] + LETTERS * (length // 26 + 1)
    return "%010d%s" % (row, filler[:length - 10])


class Pool:
    """A few connections for many tasks."""

    def __init__(self, path: str, size: int, synchronous: str) -> None:
        self.path = path
        self.size = size
        self.synchronous = synchronous
        self.idle: deque[aiosqlite.Connection] = deque()
        self.free = asyncio.Semaphore(size)

    async def open(self) -> None:
        """Connect all of them."""
        for _ in range(self.size):
            conn = await aiosqlite.connect(self.path, timeout=BUSY_S)
            await conn.execute("PRAGMA journal_mode = WAL")
            await conn.execute("PRAGMA synchronous = " + self.synchronous)
            await conn.execute(f"PRAGMA cache_size = -{CACHE_KB}")
            self.idle.append(conn)

    async def close(self) -> None:
        """Close all of them."""
        while self.idle:
            await self.idle.pop().close()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[aiosqlite.Connection]:
        """Lend one."""
        async with self.free:
            conn = self.idle.pop()
            try:
                yield conn
            finally:
                self.idle.append(conn)


@dataclass
class Load:
    """A run: what it was told, and what it counts."""
    args: argparse.Namespace
    pool: Pool
    rows: int
    text: int
    times_ns: list[int] = field(default_factory=list)
    per_client: list[int] = field(default_factory=list)
    ended: int = 0  # warm-up included
    errors: int = 0
    count_ns: int = 0
    end_ns: int = 0

    async def read(self, conn: aiosqlite.Connection, key: int) -> None:
        """A point read."""
        async with conn.execute(READ, (key,)) as cursor:
            row = await cursor.fetchone()
        if row is None or row[1] != make_text(key, self.text):
            raise LoadError(f"row {key} is not what it was: {row}")

    async def write(self, conn: aiosqlite.Connection, key: int) -> None:
        """An update of one row."""
        cursor = await conn.execute(WRITE, (key,))
        await conn.commit()
        if cursor.rowcount != 1:
            raise LoadError(f"{cursor.rowcount} rows were changed, not 1")
        await cursor.close()

    async def try_once(self, key: int) -> bool:
        """Do one operation.  False: the database was locked for too long."""
        work = self.read if self.args.mix == "read" else self.write
        async with self.pool.connection() as conn:
            try:
                await work(conn, key)
            except sqlite3.OperationalError as e:
                if str(e) != "database is locked":
                    raise
                await conn.rollback()
                return False
        return True

    async def run_client(self, number: int) -> None:
        """One task."""
        draw = random.Random(self.args.seed * 100003 + number)
        while (began := time.monotonic_ns()) < self.end_ns:
            well = await self.try_once(draw.randint(1, self.rows))
            now = time.monotonic_ns()
            self.ended += well
            if now < self.count_ns:
                continue
            if not well:
                self.errors += 1
                continue
            # as in client/bench: what was in flight at the end has a time
            self.times_ns.append(now - began)
            self.per_client[number] += now < self.end_ns

    async def run(self) -> float:
        """All of it.  Returns the CPU time in the counted time."""
        await self.pool.open()
        self.per_client = [0] * self.args.clients
        self.count_ns = time.monotonic_ns() + int(self.args.warmup * 1e9)
        self.end_ns = self.count_ns + int(self.args.time * 1e9)
        tasks = [asyncio.create_task(self.run_client(i))
                 for i in range(self.args.clients)]
        try:
            await asyncio.sleep(self.args.warmup)
            before = get_cpu_s()
            await asyncio.sleep((self.end_ns - time.monotonic_ns()) / 1e9)
            used = get_cpu_s() - before
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.pool.close()
        return used


def get_cpu_s() -> float:
    """User and system time of the process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def describe(times_ns: list[int]) -> dict[str, float]:
    """Percentiles in us."""
    times_ns.sort()
    n = len(times_ns)
    result = {"mean": sum(times_ns) / n / 1e3}
    for name, fraction in PERCENTILES.items():
        result[name] = times_ns[min(n - 1, int(n * fraction))] / 1e3
    return {**result, "max": times_ns[-1] / 1e3}


def report(load: Load, cpu_s: float) -> dict[str, object]:
    """The JSON of a run."""
    args, ops = load.args, sum(load.per_client)
    if ops == 0:
        raise LoadError("no operation ended in the counted time")
    latency = describe(load.times_ns)
    least = min(load.per_client)
    about = (f"aiosqlite {aiosqlite.__version__}, SQLite "
             f"{sqlite3.sqlite_version}, {load.pool.size} connections, "
             f"synchronous {load.pool.synchronous}")
    return {
        "driver": "aiosqlite", "about": about, "mix": {args.mix: 1},
        "clients": args.clients, "processes": 1, "threads": 1, "depth": 1,
        "rate": 0, "rows_n": load.rows, "warmup_s": args.warmup,
        "seconds": args.time, "ops": ops, "errors": load.errors,
        "per_s": ops / args.time, "rows": ops, "unsent": 0,
        "cpu_us_per_op": cpu_s * 1e6 / ops, "latency_us": latency,
        "kinds": {args.mix: {"ops": ops, "errors": load.errors,
                             "latency_us": latency}},
        "per_client": load.per_client,
        "busiest_to_least": max(load.per_client) / least if least else None,
    }


def ask(path: str) -> tuple[int, int, int]:
    """The sum of n, the rows, the length of their text."""
    uri = pathlib.Path(path).absolute().as_uri() + "?mode=rw"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
        row = db.execute(SUM).fetchone()
    if None in row:
        raise LoadError("the table is empty: make it with peer_direct --init")
    return row


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Run, and check what is there afterwards."""
    options = {"pool": "5", "synchronous": "full"}
    for name, _, value in (o.partition("=") for o in args.option):
        if name not in options:
            raise LoadError(f"-o {name} is not known here")
        options[name] = value
    if options["synchronous"] not in ("full", "normal"):
        raise LoadError("-o synchronous is full or normal")
    before, rows, text = ask(args.socket)
    if args.rows > rows:
        raise LoadError(f"there are {rows} rows, not {args.rows}")
    pool = Pool(args.socket, int(options["pool"]), options["synchronous"])
    load = Load(args, pool, args.rows or rows, text)
    cpu_s = asyncio.run(load.run())
    grown = ask(args.socket)[0] - before
    wanted = load.ended if args.mix == "write" else 0
    if grown != wanted:
        raise LoadError(f"{wanted} writes were acknowledged, and the sum has "
                        f"grown by {grown}")
    return report(load, cpu_s)


def main() -> int:
    """Read the arguments and print the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("-s", "--socket", required=True, help="the file")
    parser.add_argument("-m", "--mix", choices=("read", "write"),
                        default="read")
    parser.add_argument("-c", "--clients", type=int, default=32)
    parser.add_argument("-j", "--processes", type=int, choices=(1,),
                        default=1)
    parser.add_argument("-T", "--time", type=float, default=10)
    parser.add_argument("--warmup", type=float, default=1)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--option", action="append", default=[])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("-q", "--quiet", action="store_true")
    args = parser.parse_args()
    try:
        result = measure(args)
    except (LoadError, sqlite3.Error) as e:
        print(f"aiosqlite_load.py: Error: {e}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(result))
        return 0
    print(result["about"])
    print(f"{result['per_s']:.1f} operations per second, "
          f"{result['errors']} errors")
    print(" ".join(f"{k} {v:.1f}" for k, v in result["latency_us"].items()),
          "us")
    return 0


if __name__ == "__main__":
    sys.exit(main())
