"""Measurements that are more than one load on one server."""

from __future__ import annotations

import contextlib
import csv
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import place as places
import run
import scrape
import servers
from daemon import Daemon
from place import GENERATOR, PEERS, Place, Span

WAIT_S = 20  # for something that is about to happen
LEAD_S = 1.0  # a load in the background ends so much later
LEAD_SCANS_S = 2.0  # they hardly get on while there are reads
WAL_LIMIT_BYTES = 16 << 20  # the daemon's default


def generator(daemon: Daemon, kind: str, *args: str) -> list[str]:
    return [GENERATOR, "-s", daemon.socket, "--json", "-q", "-m", kind, *args]


# --- A load beside another --------------------------------------------------

@contextlib.contextmanager
def beside(daemon: Daemon, clients: int, argv: list[str]) -> Iterator[None]:
    """A load in the background, from when all its clients are connected.
    It has to last, and to end well."""
    with run.Program(argv) as program:
        deadline = time.monotonic() + WAIT_S
        while True:
            stats = daemon.stats()
            if stats["clients_accepted"] - stats["clients_closed"] > clients:
                break
            if time.monotonic() > deadline or not program.is_running():
                program.finish(1)
                raise run.RunError("the load beside it did not start")
        yield
        if not program.is_running():
            program.finish(1)
            raise run.RunError("the load beside it ended first")
        run.parse(program.name, program.finish())


Beside = Callable[[Daemon, float], contextlib.AbstractContextManager]


def read_beside(other: Beside, server: str = "sqlpoold-scan"
                ) -> Callable[[Place, Span], dict]:
    def measure(place: Place, span: Span) -> dict:
        daemon = place.server(server)
        argv = generator(daemon, "read", "-c", "32", "-j",
                         str(places.PROCESSES["read"]), *span.args())
        with other(daemon, span.seconds + span.warmup):
            return run.load(argv)
    return measure


def nothing(_daemon: Daemon, _seconds: float) -> Any:
    return contextlib.nullcontext()


def writers(daemon: Daemon, seconds: float) -> Any:
    return beside(daemon, 32, generator(
        daemon, "write", "-c", "32", "-j", "32", "--warmup", "0",
        "-T", "%g" % (seconds + LEAD_S)))


def scrapes(daemon: Daemon, _seconds: float) -> Any:
    return scrape.each_second(daemon.socket + ".metrics")


def scans(daemon: Daemon, seconds: float) -> Any:
    return beside(daemon, 4, generator(
        daemon, "sql", "--sql",
        "SELECT count(*) FROM scanned WHERE n + 0 = -1", "-c", "4", "-j", "1",
        "--warmup", "0", "-T", "%g" % (seconds + LEAD_SCANS_S)))


# --- Large results ----------------------------------------------------------

def large(place: Place, cell: str, _span: Span) -> dict:
    """A few whole results; of the daemon also how its memory grew.  (In the
    first round it grows by the page cache, too.)"""
    count = ["-n", "2", "--large-rows", str(place.size.large), "-c", "1"]
    if "inproc" in cell:
        return run.load([str(PEERS / "peer_inproc"), "--json", "-q", "-m",
                         "large", "-s", place.server("file-large").socket,
                         *count])
    daemon = place.server("sqlpoold-large")
    before = daemon.memory_bytes()
    daemon.reset_peak()
    result = run.load(generator(daemon, "large", *count))
    result["growth_bytes"] = daemon.memory_bytes("VmHWM") - before
    return result


# --- Clients that do nothing ------------------------------------------------

@contextlib.contextmanager
def idle(daemon: Daemon, clients: int) -> Iterator[None]:
    argv = [str(PEERS / "idle"), daemon.socket, "bench", str(clients), "4"]
    with run.Program(argv, stdin=subprocess.PIPE) as program:
        out = program.process.stdout
        if not select.select([out], [], [], WAIT_S)[0] or \
                out.readline() != b"ready\n":
            program.finish(1)
            raise run.RunError("idle said nothing")
        yield
        program.finish()


def idle_memory(place: Place, _span: Span) -> dict:
    """What they cost the daemon.  The sockets are the kernel's, and are not
    among it."""
    place.stop("sqlpoold-idle")
    daemon = place.server("sqlpoold-idle")
    clients = place.size.idle[0]
    before = daemon.memory_bytes()
    with idle(daemon, clients):
        grown = daemon.memory_bytes() - before
    return {"clients": clients, "client_bytes": grown / clients}


def idle_cpu(place: Place, span: Span) -> dict:
    daemon = place.server("sqlpoold-idle")
    # what filled the file is none of theirs, and is copied when nobody writes
    daemon.ask("@admin", "CHECKPOINT bench")
    with idle(daemon, place.size.idle[1]):
        start, before = time.monotonic_ns(), daemon.cpu_ns()
        time.sleep(span.seconds)
        used = daemon.cpu_ns() - before
        wall = time.monotonic_ns() - start
    return {"clients": place.size.idle[1], "cpu_percent": 100 * used / wall}


# --- The first client ---------------------------------------------------------

def first(place: Place, _span: Span) -> dict:
    """The first query after the daemon said that it is ready, and later ones.
    (Nothing is made in its file first: it would read the schema anew.)"""
    place.stop("wide")
    daemon = place.server("wide")
    return run.load([str(PEERS / "first"), daemon.socket, "bench",
                     str(places.TABLES)])


# --- The WAL ----------------------------------------------------------------

def wal(place: Place, span: Span) -> dict:
    """Eight readers whose queries (some 10 ms of work each) never leave a gap,
    while the writer has all it can do."""
    place.stop("sqlpoold-wal")  # a WAL does not get smaller
    daemon = place.server("sqlpoold-wal")
    readers = generator(daemon, "sql", "--sql",
                        "SELECT sum(n) FROM bench WHERE c <> ''",
                        "-c", "8", "-j", "1", "--warmup", "0",
                        "-T", "%g" % (span.seconds + LEAD_S))
    writer = generator(daemon, "write", "-c", "8", "-j", "2", "-d", "64",
                       *span.args())
    largest = 0
    with beside(daemon, 8, readers), run.Program(writer) as program:
        while program.is_running():
            largest = max(largest, daemon.wal_bytes())
            time.sleep(0.005)
        result = run.parse(program.name, program.finish())
    result["to_limit"] = largest / WAL_LIMIT_BYTES
    return result


# --- Others' own tools ------------------------------------------------------

def redis_benchmark(place: Place, span: Span) -> dict:
    """GET of one of as many texts by its 32 clients in one process and thread.
    With one in flight it is the slower end itself (peer_redis.c): so 16."""
    socket = place.server("redis").socket
    argv = ["redis-benchmark", "-s", socket, "-c", "32", "-P", "16", "--csv",
            "-d", "100", "-r", str(place.size.rows)]
    known = run.output(["redis-cli", "-s", socket, "exists",
                        "key:000000000001"])
    if known.strip() != "1":
        run.output([*argv, "-n", str(10 * place.size.rows), "-t", "set"])
    out = run.output([*argv, "-n", str(int(400000 * span.seconds)),
                      "-t", "get"])
    rows = list(csv.DictReader(out.splitlines()))
    return {"per_s": float(rows[-1]["rps"])}


def pgbench(place: Place, span: Span) -> dict:
    """The point read, prepared, by 32 clients in one process and thread."""
    server = place.server("postgres")
    script = place.workplace.path / "read.sql"
    script.write_text("\\set id random(1, %d)\n"
                      "SELECT n, c FROM bench WHERE id = :id;\n"
                      % place.size.rows)
    out = run.output([str(servers.POSTGRES_BIN / "pgbench"), "-h",
                      server.socket, "-U", "bench", "-n", "-M", "prepared",
                      "-c", "32", "-j", "1", "-T",
                      str(max(1, round(span.seconds))), "-f", str(script),
                      "bench"])
    for line in out.splitlines():
        if line.startswith("tps = "):
            return {"per_s": float(line.split()[2])}
    raise run.RunError("pgbench says no tps")


def beside_tool(place: Place, cell: str, span: Span) -> dict:
    """Our generator in the layout of the tool."""
    _, who, clients, depth = places.parse_name(cell)
    peer = places.WHO[who]
    server = place.server(peer.server["read"])
    return run.load([*peer.command(), "-s", server.socket, "--json", "-q",
                     "-m", "read", "-c", str(clients), "-j", "1",
                     "-d", str(depth), *span.args()])


def decode(place: Place, _span: Span) -> dict:
    """The library's decoding beside msgpack-c's unpacker; they take turns in
    the program."""
    return run.load([str(PEERS / "decode"), "-s",
                     place.server("sqlpoold").socket, "-r",
                     str(place.size.large)])


def cost(_place: Place, _span: Span) -> dict:
    """The library alone: the program plays the daemon, too."""
    return run.load([str(PEERS / "cost")])


CELLS = {
    "decode/library": decode,
    "cost/library": cost,
    "read/alone/32x1": read_beside(nothing),
    "read/beside-writers/32x1": read_beside(writers),
    "read/beside-scans/32x1": read_beside(scans),
    "read/unscraped/32x1": read_beside(nothing, "sqlpoold"),
    "read/scraped/32x1": read_beside(scrapes, "sqlpoold"),
    "first/sqlpoold/1000": first,
    "idle/sqlpoold/10000": idle_memory,
    "idle/sqlpoold/1000": idle_cpu,
    "wal/sqlpoold/8": wal,
    "tool/redis-benchmark/32x16": redis_benchmark,
    "tool/pgbench/32x1": pgbench,
}
KINDS = {"large": large, "tool": beside_tool}
