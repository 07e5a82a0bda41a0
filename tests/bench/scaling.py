#!/usr/bin/python3
"""make bench-scaling: how rate, p99 and the daemon's CPU per answer grow.

Each series goes along one axis (clients, depth, rows of a result, tables,
databases, share of writes), round after round; what is printed and drawn is the
median of the rounds.  build/bench/scaling/*.tsv has the data, and
tests/bench/plots/*.svg the plots.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import pathlib
import re
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import figures
import machine
import place as places
import run
import servers
import special
import table
from daemon import Daemon
from place import PROCESSES, Place, Span

OUT = servers.TOP / "build/bench/scaling"
PLOTS = servers.TOP / "tests/bench/plots"
ROUNDS = 3
SPAN = Span(1.0, 0.2)
FLAT = 1.25  # a cost that has grown by less


@dataclass(frozen=True)
class Point:
    """What was measured at one place of an axis; NaN where it was not."""
    per_s: float
    p99_us: float
    cpu_us: float = math.nan


# What a series gives for one x: a point for each of its lines.
Measure = Callable[[Place, int, Span], dict[str, Point]]


@dataclass(frozen=True)
class Series:
    name: str
    title: str
    xlabel: str
    log: bool
    xs: tuple[int, ...]
    measure: Measure
    unit: str = "answer"
    why: str = ""  # its cost may grow


# --- Measuring --------------------------------------------------------------

def count_answers(daemon: Daemon) -> int:
    """Statements that were answered; other requests are HELLO, CREDIT, ..."""
    stats = daemon.stats()
    return sum(stats[k] for k in ("reads_inline", "reads_heavy", "writes"))


@contextlib.contextmanager
def cost(daemon: Daemon) -> Iterator[Callable[[], float]]:
    """CPU µs of the daemon for each answer of the block, once it has ended: of
    all its threads, and all answers, those of the warm-up too."""
    answers, cpu = count_answers(daemon), daemon.cpu_ns()
    used: list[float] = []
    yield lambda: used[0]
    cpu = daemon.cpu_ns() - cpu
    used.append(cpu / 1000 / (count_answers(daemon) - answers))


def load(daemon: Daemon, kind: str, span: Span, *how: str) -> Point:
    with cost(daemon) as cpu_us:
        got = run.load(special.generator(daemon, kind, *span.args(), *how))
    return Point(got["per_s"], got["latency_us"]["p99"], cpu_us())


def share(kind: str, clients: int) -> list[str]:
    """-c and -j as everywhere (place.py)."""
    return ["-c", str(clients), "-j", str(min(clients, PROCESSES[kind]))]


def clients(place: Place, n: int, span: Span) -> dict[str, Point]:
    daemon = place.server("sqlpoold")
    found = {kind + "s": load(daemon, kind, span, *share(kind, n))
             for kind in ("read", "write")}
    if n <= 64:
        cell = "write/direct/%dx1" % n
        got = run.load(places.command(place, cell, span))
        found["writes, SQLite by each process"] = Point(
            got["per_s"], got["latency_us"]["p99"])
    return found


def depth(place: Place, n: int, span: Span) -> dict[str, Point]:
    daemon = place.server("sqlpoold")
    return {kind + "s": load(daemon, kind, span, *share(kind, 8), "-d", str(n))
            for kind in ("read", "write")}


def rows(place: Place, n: int, span: Span) -> dict[str, Point]:
    """Rate and cost of a row."""
    whole = load(place.server("sqlpoold"), "range", span, *share("read", 8),
                 "--range-rows", str(n))
    return {"rows": Point(whole.per_s * n, whole.p99_us, whole.cpu_us / n)}


def tables(place: Place, n: int, span: Span) -> dict[str, Point]:
    """One more table than these is the one that is used."""
    name = "sqlpoold-%d-tables" % n
    first = name not in place.running
    daemon = place.server(name)
    if first:
        daemon.ask("bench", "BEGIN", *(
            "CREATE TABLE t%d(id INTEGER PRIMARY KEY, a INT, b TEXT NOT NULL,"
            " c REAL)" % i for i in range(n)), "COMMIT")
    return {kind + "s": load(daemon, kind, span, *share(kind, 32))
            for kind in ("read", "write")}


def databases(place: Place, n: int, span: Span) -> dict[str, Point]:
    """As many clients in as many processes, divided among them; a generator
    for each."""
    daemon = place.server("sqlpoold-%d-databases" % n)
    found = {}
    for kind in ("read", "write"):
        each = share_out(100, n)
        with contextlib.ExitStack() as stack, cost(daemon) as cpu_us:
            programs = [stack.enter_context(run.Program(special.generator(
                daemon, kind, *span.args(), "-c", str(c), "-j", str(c), name)))
                for name, c in zip(daemon.databases, each)]
            got = [run.parse(p.name, p.finish()) for p in programs]
        found[kind + "s"] = Point(
            sum(g["per_s"] for g in got),
            statistics.median(g["latency_us"]["p99"] for g in got), cpu_us())
    return found


def share_out(whole: int, parts: int) -> list[int]:
    return [whole // parts + (i < whole % parts) for i in range(parts)]


def mix(place: Place, percent: int, span: Span) -> dict[str, Point]:
    daemon = place.server("sqlpoold")
    weights = "read=%d,write=%d" % (100 - percent, percent)
    with cost(daemon) as cpu_us:
        got = run.load(special.generator(daemon, weights, *span.args(),
                                         *share("read", 32)))
    found = {kind + "s": Point(of["ops"] / got["seconds"],
                               of["latency_us"]["p99"] if of["ops"]
                               else math.nan)
             for kind, of in got["kinds"].items()}
    found["both"] = Point(got["per_s"], math.nan, cpu_us())
    return found


# --- The series -------------------------------------------------------------

SERIES = (
    Series("clients", "Clients", "clients, 1 request in flight each", True,
           (1, 4, 16, 64, 256, 1000), clients),
    Series("depth", "Requests in flight", "requests in flight of each of "
           "8 clients", True, (1, 2, 4, 8, 16, 32, 64), depth),
    Series("rows", "Rows of a result", "rows of 100 bytes in each of 8 "
           "clients' results", True, (1, 10, 100, 1000, 10000), rows, "row"),
    Series("tables", "Tables of the schema", "other tables; 32 clients", True,
           (10, 30, 100, 300, 1000), tables),
    Series("databases", "Databases", "databases; 100 clients in all", True,
           (1, 3, 10, 30, 100), databases,
           why="writes of one database share commits, and reads of one a "
           "transaction: the fewer clients use one, the less is shared"),
    Series("mix", "Share of writes", "durable writes, percent; 32 clients",
           False, (0, 10, 25, 50, 75, 90, 100), mix,
           why="it goes from the cost of a read to that of a write"),
)


Lines = dict[str, dict[int, Point]]


def middle(points: list[Point]) -> Point:
    """The median of each thing by itself."""
    return Point(statistics.median(p.per_s for p in points),
                 statistics.median(p.p99_us for p in points),
                 statistics.median(p.cpu_us for p in points))


def measure(place: Place, series: Series, rounds: int, span: Span) -> Lines:
    got: dict[str, dict[int, list[Point]]] = {}
    for number in range(rounds):
        for x in series.xs:
            if sys.stderr.isatty():
                print("\r\033[K%s %d, round %d of %d" % (
                    series.name, x, number + 1, rounds), end="",
                    file=sys.stderr, flush=True)
            for line, point in series.measure(place, x, span).items():
                got.setdefault(line, {}).setdefault(x, []).append(point)
    # the same line has the same colour in every plot
    order = sorted(got, key=lambda line: (line != "reads", line != "writes"))
    return {line: {x: middle(points) for x, points in got[line].items()}
            for line in order}


# --- What is made of it -----------------------------------------------------

def write_data(series: Series, lines: Lines) -> pathlib.Path:
    """A block for each line, as plot.gp wants it."""
    blocks = []
    for line, along in lines.items():
        text = ["\t".join((line, "per_s", "p99_us", "cpu_us"))]
        text += ["%d\t%.1f\t%.1f\t%.3f" % (x, p.per_s, p.p99_us, p.cpu_us)
                 for x, p in along.items()]
        blocks.append("\n".join(text) + "\n")
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / (series.name + ".tsv")
    path.write_text("\n\n".join(blocks), encoding="utf-8")
    return path


def draw(series: Series, data: pathlib.Path, lines: Lines,
         directory: pathlib.Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / (series.name + ".svg")
    run.output(["gnuplot", "-c", str(servers.TOP / "tests/bench/plot.gp"),
                str(data), str(path), series.title, series.xlabel,
                "log" if series.log else "lin",
                " ".join('"%s"' % line for line in lines), series.unit])
    # two thirds of what gnuplot writes are groups of nothing
    svg = path.read_text(encoding="utf-8")
    svg = re.sub(r"<g [^>]*>\s*</g>\s*", "", svg)
    path.write_text(re.sub(r"[ \t]+$", "", svg, flags=re.M),
                    encoding="utf-8")


def judge(near: float, far: float) -> tuple[float, str]:
    """How the cost has grown, and what to call it."""
    growth = figures.ratio(far, near)
    if growth > FLAT:
        return growth, "grows"
    return growth, "flat" if growth > 1 / FLAT else "falls"


def growth_rows(series: Series, lines: Lines) -> list[list[str]]:
    """Lines of the table; those whose cost is not known are left out."""
    rows_ = []
    for line, along in lines.items():
        near, far = min(along), max(along)
        costs = along[near].cpu_us, along[far].cpu_us
        if any(math.isnan(c) for c in costs):
            continue
        growth, word = judge(*costs)
        if word == "grows":
            word = "grows: " + (series.why or "NOT EXPLAINED")
        rows_.append([series.title, line, "%d to %d" % (near, far),
                      *("%s µs" % table.number(c) for c in costs),
                      table.number(growth), word])
    return rows_


def read_arguments() -> argparse.Namespace:
    names = [s.name for s in SERIES]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", metavar="NAMES",
                        help="only these: " + ",".join(names))
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    parser.add_argument("--quick", action="store_true", help="try everything "
                        "once, briefly; the plots go to build/bench/scaling")
    args = parser.parse_args()
    args.names = args.only.split(",") if args.only else names
    for name in args.names:
        if name not in names:
            parser.error("no series %s; there are %s" % (name,
                                                         " ".join(names)))
    return args


def main() -> int:
    args = read_arguments()
    rounds, span = (1, Span(0.2, 0.05)) if args.quick else (args.rounds, SPAN)
    size = places.QUICK if args.quick else places.Size()
    growth = [["series", "of", "from", "CPU near", "CPU far", "far/near", ""]]
    run.adopt_orphans()
    try:
        with servers.workplace() as workplace:
            about = machine.describe(str(servers.SQLPOOLD),
                                     str(workplace.path))
            others = machine.Others()
            place = Place(workplace, size)
            for series in SERIES:
                if series.name not in args.names:
                    continue
                lines = measure(place, series, rounds, span)
                place.stop()
                draw(series, write_data(series, lines), lines,
                     OUT if args.quick else PLOTS)
                growth += growth_rows(series, lines)
            took = others.percent()
    except (run.RunError, servers.ServerError) as e:
        print("bench-scaling: %s" % e, file=sys.stderr)
        return 1
    finally:
        run.end_all()
    print(table.machine(about, took))
    print()
    print(table.align(growth, left=(0, 1, 2, 6)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
