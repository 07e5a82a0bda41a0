"""The tables beside the figures: who does what, where the daemon loses, and
whether others' own tools agree with our generator.

Everything is the median of the rounds, but for the worst time, which is the
highest of all rounds, and for errors, which are summed.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import figures
import table
from figures import Round

NAMES = {
    "sqlpoold": "sqlpoold",
    "sqlpoold-1": "sqlpoold, one worker",
    "direct": "SQLite by each process, kept open",
    "direct-each": "SQLite by each process, opened each time",
    "aiosqlite": "SQLite by aiosqlite, one Python process",
    "postgres": "PostgreSQL",
    "pgbouncer": "PostgreSQL behind PgBouncer",
    "redis": "Redis",
    "echo": "floor: an echo server",
    "echo-block": "floor: an echo thread",
    "inproc": "ceiling: SQLite in one process, alone",
    "inproc-512": "ceiling: the same, 512 to a commit",
}
KINDS = {"read": "Point reads", "write": "Durable one-row updates",
         "normal": "One-row updates, synchronous=normal"}
# a ceiling has one client and stands beside each number of ours
CEILINGS = {"inproc": ("1x1",), "inproc-512": ("1x1",)}


def summarize(rounds: list[Round], cell: str) -> dict | None:
    """What a table shows of a cell; None when it was not measured."""
    runs = [r[cell] for r in rounds if cell in r]
    if not runs:
        return None
    unequal = [r.get("busiest_to_least") for r in runs]
    summary = {"per_s": statistics.median(r["per_s"] for r in runs),
               "errors": sum(r.get("errors", 0) for r in runs),
               "unequal": None if None in unequal
               else statistics.median(unequal)}
    if "latency_us" in runs[0]:
        for which in ("mean", "p50", "p99", "p99.9"):
            summary[which] = statistics.median(
                r["latency_us"][which] for r in runs)
        summary["max"] = max(r["latency_us"]["max"] for r in runs)
    return summary


# --- Who does what ----------------------------------------------------------

def find_rows(rounds: list[Round], kind: str,
              layout: str) -> list[tuple[str, dict]]:
    rows = []
    for who, name in NAMES.items():
        cell = "%s/%s/%s" % (kind, who, layout)
        summary = summarize(rounds, cell)
        if summary:
            rows.append((name, summary))
    return rows


def draw(rows: list[tuple[str, dict]]) -> str:
    lines = [["", "per second", "p50", "p99", "p99.9", "worst",
              "busiest/least"]]
    for name, s in rows:
        unequal = "some had none" if s["unequal"] is None \
            else "%.2f" % s["unequal"]
        if s["errors"]:
            name += " (%d times \"database is locked\")" % s["errors"]
        lines.append([name, table.number(s["per_s"]),
                      *(table.micros(s[w])
                        for w in ("p50", "p99", "p99.9", "max")), unequal])
    return table.align(lines)


def tables(rounds: list[Round]) -> str:
    parts = []
    for kind, what in KINDS.items():
        for clients, depth in ((32, 1), (32, 16), (1, 1)):
            rows = find_rows(rounds, kind, "%dx%d" % (clients, depth))
            if rows:
                parts.append("%s, %d client%s, %d in flight\n%s" % (
                    what, clients, "" if clients == 1 else "s", depth,
                    draw(rows)))
    return "\n\n".join(parts)


# --- Where it loses ---------------------------------------------------------

@dataclass(frozen=True)
class Case:
    what: str
    ours: str
    theirs: str
    which: str  # a time, or per_s
    reason: str


CASES = (
    Case("a lone client's point read, p50",
         "read/sqlpoold/1x1", "read/inproc/1x1", "p50",
         "the request and its answer cross a socket, and two processes have to "
         "wake up; in process it is a function call"),
    Case("point reads by 32 processes, rate",
         "read/sqlpoold/32x1", "read/direct/32x1", "per_s",
         "reads of a file do not hinder each other, so the daemon only adds "
         "its round trip"),
    Case("a lone client's durable write, p50",
         "write/sqlpoold/1x1", "write/direct/1x1", "p50",
         "nobody shares the sync, and the round trip and the writer's thread "
         "are added to it"),
    Case("a lone client's write with synchronous=normal, p50",
         "normal/sqlpoold/1x1", "normal/direct/1x1", "p50",
         "without a sync a write is so short that the round trip is most of "
         "it"),
    Case("32 writers with synchronous=normal, rate",
         "normal/sqlpoold/32x1", "normal/direct/32x1", "per_s",
         "without a sync there is less to share, and each write crosses the "
         "socket"),
    Case("a result of 1,000,000 rows, rate",
         "large/sqlpoold/1x1", "large/inproc/1x1", "per_s",
         "every value is encoded, copied through the socket and decoded"),
)


def slower(rounds: list[Round], case: Case) -> float | None:
    """How many times as long it takes with the daemon; None: not measured."""
    ours = summarize(rounds, case.ours)
    theirs = summarize(rounds, case.theirs)
    if not ours or not theirs:
        return None
    if case.which == "per_s":
        return figures.ratio(theirs["per_s"], ours["per_s"])
    return figures.ratio(ours[case.which], theirs[case.which])


def show(summary: dict, which: str) -> str:
    return table.number(summary["per_s"]) + "/s" if which == "per_s" \
        else table.micros(summary[which])


def losses(rounds: list[Round]) -> str:
    """The cases, worst first; those that are not lost are left out."""
    found = []
    for case in CASES:
        factor = slower(rounds, case)
        if factor is not None and factor > 1:
            found.append((factor, case))
    lines = []
    for factor, case in sorted(found, key=lambda f: -f[0]):
        lines.append("%s times slower: %s (%s; SQLite alone %s)\n    %s" % (
            table.number(factor), case.what,
            show(summarize(rounds, case.ours), case.which),
            show(summarize(rounds, case.theirs), case.which), case.reason))
    return "\n".join(lines)


# --- Whether others agree ---------------------------------------------------

TOOLS = (("tool/redis/32x16", "tool/redis-benchmark/32x16"),
         ("tool/postgres/32x1", "tool/pgbench/32x1"))
AGREE = 0.2  # of their rate


def agreement(rounds: list[Round]) -> list[str]:
    """A line for each tool that was run."""
    lines = []
    for ours, theirs in TOOLS:
        both = [r for r in rounds if ours in r and theirs in r]
        if not both:
            continue
        value, spread = figures.summarize(
            [figures.ratio(r[ours]["per_s"], r[theirs]["per_s"])
             for r in both])
        tool = theirs.split("/")[1]
        verdict = "agree within 20 %" if abs(value - 1) <= AGREE \
            else "DO NOT AGREE within 20 %"
        lines.append("our generator / %s: %s (%s); they %s" % (
            tool, table.number(value), table.spread(spread), verdict))
    return lines
