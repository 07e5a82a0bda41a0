"""What is measured, in which company, how often and for how long.

The cells of a group take turns: A B C A B C ..., so that what the machine does
meanwhile meets all of them.  A figure is formed from cells of one group.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import place as places
import run
import servers
import special
from place import Place, Span


@dataclass(frozen=True)
class Group:
    name: str
    rounds: int
    span: Span
    cells: tuple[str, ...]


# Durable ones have the longest: their ratios are of worst cases.
GROUPS = (
    Group("durable writes", 4, Span(1.8, 0.2), (
        "write/sqlpoold/32x1", "write/direct/32x1", "write/sqlpoold/32x16",
        "write/inproc-512/1x1", "write/sqlpoold/256x1",
        "write/sqlpoold-auto/32x1")),
    Group("a lone durable writer", 5, Span(1.0, 0.2), (
        "write/sqlpoold/1x1", "write/direct/1x1")),
    Group("synchronous=normal", 3, Span(1.2, 0.2), (
        "normal/sqlpoold/32x1", "normal/direct/32x1",
        "normal/sqlpoold/1x1", "normal/direct/1x1")),
    Group("point reads", 5, Span(1.0, 0.2), (
        "read/sqlpoold/32x1", "read/echo/32x1", "read/redis/32x1",
        "read/postgres/32x1")),
    Group("one worker; a lone reader", 4, Span(1.0, 0.2), (
        "read/sqlpoold-1/32x16", "read/inproc/1x1", "read/sqlpoold/1x1",
        "read/echo-block/1x1")),
    Group("the library", 4, Span(1.0, 0.2), (
        "read/sqlpoold/1x16", "read/bare/1x16",
        "read/sqlpoold/1x128", "read/bare/1x128")),
    Group("reads beside", 3, Span(1.5, 0.2), (
        "read/alone/32x1", "read/beside-writers/32x1",
        "read/beside-scans/32x1")),
    # a hundredth is asked for, and it is scraped once a second
    Group("metrics", 5, Span(3.0, 0.2), (
        "read/scraped/32x1", "read/unscraped/32x1")),
    Group("large results", 4, Span(1.0, 0.0), (
        "large/sqlpoold/1x1", "large/inproc/1x1")),
    Group("decoding", 2, Span(1.0, 0.0), ("decode/library",)),
    Group("the library's own cost", 2, Span(1.0, 0.0), ("cost/library",)),
    Group("the first client", 9, Span(0.1, 0.0), ("first/sqlpoold/1000",)),
    Group("idle clients", 1, Span(10.0, 0.0), (
        "idle/sqlpoold/10000", "idle/sqlpoold/1000")),
    Group("the WAL", 2, Span(4.0, 0.0), ("wal/sqlpoold/8",)),
    # only for the tables of who does what
    Group("others read", 2, Span(0.6, 0.2), (
        "read/direct/32x1", "read/direct-each/32x1", "read/pgbouncer/32x1",
        "read/aiosqlite/32x1",
        "read/sqlpoold/32x16", "read/echo/32x16", "read/redis/32x16",
        "read/postgres/32x16",
        "read/direct/1x1", "read/direct-each/1x1", "read/redis/1x1",
        "read/postgres/1x1", "read/pgbouncer/1x1", "read/aiosqlite/1x1")),
    Group("others write", 2, Span(0.7, 0.2), (
        "write/direct-each/32x1", "write/redis/32x1", "write/postgres/32x1",
        "write/pgbouncer/32x1", "write/aiosqlite/32x1",
        "write/redis/32x16", "write/postgres/32x16",
        "write/inproc/1x1", "write/direct-each/1x1", "write/redis/1x1",
        "write/postgres/1x1", "write/pgbouncer/1x1", "write/aiosqlite/1x1")),
    Group("plausible", 2, Span(1.0, 0.2), (
        "tool/redis-benchmark/32x16", "tool/redis/32x16",
        "tool/pgbench/32x1", "tool/postgres/32x1")),
)


def choose(wanted: Iterable[str]) -> list[Group]:
    """The groups that have one of these cells, with only these."""
    names = set(wanted)
    groups = [replace(g, cells=tuple(c for c in g.cells if c in names))
              for g in GROUPS]
    return [g for g in groups if g.cells]


def all_cells() -> list[str]:
    return [c for g in GROUPS for c in g.cells]


def measure(place: Place, cell: str, span: Span) -> dict:
    kind = cell.split("/")[0]
    if cell in special.CELLS:
        return special.CELLS[cell](place, span)
    if kind in special.KINDS:
        return special.KINDS[kind](place, cell, span)
    return run.load(places.command(place, cell, span))


def run_group(place: Place, group: Group, failed: dict[str, str],
              tell=lambda text: None) -> list[dict[str, dict]]:
    """Measure its cells in turns.  One that fails is not tried again, and
    named in `failed` with its reason."""
    rounds = []
    for number in range(group.rounds):
        done: dict[str, dict] = {}
        for cell in group.cells:
            if cell in failed:
                continue
            tell("%s, round %d of %d: %s" % (group.name, number + 1,
                                             group.rounds, cell))
            try:
                done[cell] = measure(place, cell, group.span)
            except (run.RunError, servers.ServerError) as e:
                failed[cell] = str(e)
        rounds.append(done)
    return rounds
