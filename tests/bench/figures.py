"""The table of figures as data, and the arithmetic from runs to figures.

A cell is one thing that is measured ("read/redis/32x1": what is done, by whom,
clients x requests in flight), and a round is one measurement of each cell: a
dict from the cell's name to what was measured, for a load the JSON of its run.
A figure is a formula over a round.  It is formed in each round, from runs that
took turns, and printed as the median with the lowest and the highest.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

Round = dict[str, dict]
MIB = 1024 * 1024


@dataclass(frozen=True)
class Figure:
    id: str
    what: str
    op: str  # "≥" or "≤"
    bound: float
    cells: tuple[str, ...]
    formula: Callable[[Round], float]

    @property
    def target(self) -> str:
        return "%s %g" % (self.op, self.bound)


# --- Arithmetic -------------------------------------------------------------

def ratio(a: float, b: float) -> float:
    """a / b; what is over nothing is infinite, and nothing over it no number."""
    if b == 0:
        return math.inf if a > 0 else math.nan
    return a / b


def reaches(op: str, bound: float, value: float) -> bool:
    """Does the value keep to the target?  What is no number does not."""
    return value >= bound if op == "≥" else value <= bound


def summarize(values: list[float]) -> tuple[float, tuple[float, float]]:
    """The median, and the lowest and highest."""
    return statistics.median(values), (min(values), max(values))


def per_s(r: Round, cell: str) -> float:
    return r[cell]["per_s"]


def latency(r: Round, cell: str, which: str) -> float:
    return r[cell]["latency_us"][which]


def rate_ratio(a: str, b: str) -> tuple[tuple, Callable[[Round], float]]:
    return (a, b), lambda r: ratio(per_s(r, a), per_s(r, b))


def latency_ratio(which: str, a: str, b: str):
    return (a, b), lambda r: ratio(latency(r, a, which), latency(r, b, which))


def latency_gap(which: str, a: str, b: str):
    return (a, b), lambda r: latency(r, a, which) - latency(r, b, which)


def most_unequal(*cells: str):
    """null: the least busy one had nothing at all."""
    return cells, lambda r: max(r[c]["busiest_to_least"] or math.inf
                                for c in cells)


def measured(cell: str, key: str, unit: float = 1):
    """What a cell gives as it is."""
    return (cell,), lambda r: r[cell][key] / unit


def lone_read(ours: str, echo: str, inproc: str):
    """A lone client's read beside a round trip and a read in process."""
    return (ours, echo, inproc), lambda r: ratio(
        latency(r, ours, "p50"),
        latency(r, echo, "p50") + latency(r, inproc, "mean"))


# --- The table --------------------------------------------------------------

FIGURES = (
    Figure("W1", "durable one-row updates, 32 processes, 1 in flight / direct",
           "≥", 5, *rate_ratio("write/sqlpoold/32x1", "write/direct/32x1")),
    Figure("W2", "the same with 16 in flight / direct",
           "≥", 14, *rate_ratio("write/sqlpoold/32x16", "write/direct/32x1")),
    Figure("W3", "W2's rate / in process, 512 to a commit",
           "≥", 0.65, *rate_ratio("write/sqlpoold/32x16",
                                  "write/inproc-512/1x1")),
    Figure("W4", "worst latency in W1's load / direct",
           "≤", 0.015, *latency_ratio("max", "write/sqlpoold/32x1",
                                      "write/direct/32x1")),
    Figure("W5", "p99.9 likewise",
           "≤", 0.015, *latency_ratio("p99.9", "write/sqlpoold/32x1",
                                      "write/direct/32x1")),
    Figure("W6", "busiest / least busy client, of 32 and of 256",
           "≤", 1.2, *most_unequal("write/sqlpoold/32x1",
                                   "write/sqlpoold/256x1")),
    Figure("W7", "synchronous=normal, 32 processes / direct",
           "≥", 1.0, *rate_ratio("normal/sqlpoold/32x1",
                                 "normal/direct/32x1")),
    Figure("W8", "a lone client's durable write, p50 - direct's, µs",
           "≤", 60, *latency_gap("p50", "write/sqlpoold/1x1",
                                 "write/direct/1x1")),
    Figure("R1", "point reads, 32 clients, 1 in flight / echo floor",
           "≥", 0.65, *rate_ratio("read/sqlpoold/32x1", "read/echo/32x1")),
    Figure("R2", "R1's rate / Redis GET",
           "≥", 1.3, *rate_ratio("read/sqlpoold/32x1", "read/redis/32x1")),
    Figure("R3", "R1's rate / PostgreSQL, prepared",
           "≥", 3.5, *rate_ratio("read/sqlpoold/32x1",
                                 "read/postgres/32x1")),
    Figure("R4", "32 clients, 16 in flight, one worker / in process, one by one",
           "≥", 1.7, *rate_ratio("read/sqlpoold-1/32x16", "read/inproc/1x1")),
    Figure("R5", "a lone client's read, p50 / (blocking echo + in process)",
           "≤", 0.5, *lone_read("read/sqlpoold/1x1", "read/echo-block/1x1",
                                "read/inproc/1x1")),
    Figure("R6", "read p99 beside 32 durable writers / without",
           "≤", 2, *latency_ratio("p99", "read/beside-writers/32x1",
                                  "read/alone/32x1")),
    Figure("R7", "read p99 beside 4 scans of 10 million rows / without",
           "≤", 3, *latency_ratio("p99", "read/beside-scans/32x1",
                                  "read/alone/32x1")),
    Figure("R8", "1,000,000 rows of 5 columns streamed / in process",
           "≥", 0.5, *rate_ratio("large/sqlpoold/1x1", "large/inproc/1x1")),
    Figure("R9", "growth of the daemon's memory during R8, MiB",
           "≤", 4, *measured("large/sqlpoold/1x1", "growth_bytes", MIB)),
    Figure("R10", "memory per idle client of 10,000, KiB",
           "≤", 6, *measured("idle/sqlpoold/10000", "client_bytes", 1024)),
    Figure("R11", "CPU of the daemon with 1,000 idle clients, %",
           "≤", 0.1, *measured("idle/sqlpoold/1000", "cpu_percent")),
    Figure("R12", "first query on a preloaded database, 1,000 tables / later",
           "≤", 2, *measured("first/sqlpoold/1000", "to_later")),
    Figure("K1", "p99 of durable commits, keeper / automatic checkpoints",
           "≤", 0.5, *latency_ratio("p99", "write/sqlpoold/32x1",
                                    "write/sqlpoold-auto/32x1")),
    Figure("K2", "largest WAL, 8 overlapping readers, full speed / soft limit",
           "≤", 2, *measured("wal/sqlpoold/8", "to_limit")),
    Figure("L1", "library, 1 connection, 16 in flight / bare generator",
           "≥", 0.8, *rate_ratio("read/sqlpoold/1x16", "read/bare/1x16")),
    Figure("L2", "decoding 1,000,000 rows / msgpack-c's unpacker",
           "≥", 0.7, *measured("decode/library", "to_msgpack")),
    Figure("L3", "library, CPU of a blocking query beside its system calls, µs",
           "≤", 2, *measured("cost/library", "cpu_us")),
    Figure("L4", "memory of an idle connection in the library, KiB",
           "≤", 4, *measured("cost/library", "idle_bytes", 1024)),
    Figure("L5", "L1 with 128 in flight / bare generator",
           "≥", 0.8, *rate_ratio("read/sqlpoold/1x128", "read/bare/1x128")),
    Figure("A1", "throughput while metrics are scraped each second / without",
           "≥", 0.99, *rate_ratio("read/scraped/32x1",
                                  "read/unscraped/32x1")),
)


# --- From rounds to the table -----------------------------------------------

def find_why(figure: Figure, rounds: list[Round],
             failed: dict[str, str]) -> str:
    """Say why there is no figure; "" when there is one."""
    for cell in figure.cells:
        if cell in failed:
            return "%s: %s" % (cell, failed[cell])
    return "" if rounds else "not measured"


def judge(figure: Figure, rounds: list[Round],
          failed: dict[str, str]) -> dict:
    """Make a line of results.json from the rounds that have its cells."""
    full = [r for r in rounds if all(c in r for c in figure.cells)]
    line = {"id": figure.id, "what": figure.what, "target": figure.target,
            "value": None, "spread": None, "ok": False}
    why = find_why(figure, full, failed)
    values = [] if why else [figure.formula(r) for r in full]
    if not all(math.isfinite(v) for v in values):
        why = "not a number: nothing was done in one of its runs"
    if why:
        line["why"] = why
        return line
    value, spread = summarize(values)
    line.update(value=value, spread=list(spread),
                ok=reaches(figure.op, figure.bound, value))
    return line


def choose(ids: str | None) -> list[Figure]:
    """The figures named in "W1,R3"; all of them for None."""
    if ids is None:
        return list(FIGURES)
    known = {f.id: f for f in FIGURES}
    wanted = [i.strip().upper() for i in ids.split(",") if i.strip()]
    for i in wanted:
        if i not in known:
            raise ValueError("no figure %s; there are %s"
                             % (i, " ".join(known)))
    return [known[i] for i in wanted]
