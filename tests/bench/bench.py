#!/usr/bin/python3
"""make bench: measure the daemon beside other ways to do it, in one run.

Prints the figures with their targets, tables of who does what, where the daemon
loses, and the machine.  build/bench/results.json has the figures, and
build/bench/runs.json all that they were formed from.

The exit status is 0 when everything could be measured, whether it reaches its
target or not; 1 when a run failed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time

import cells
import figures
import machine
import place as places
import run
import servers
import side
import table

OUT = servers.TOP / "build/bench"


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", metavar="IDS",
                        help="only these figures, e.g. W1,R3")
    parser.add_argument("--rounds", type=int, metavar="N",
                        help="rounds of each group (by default 1 to 5)")
    parser.add_argument("--seconds", type=float, metavar="S",
                        help="length of each run (by default 0.8 to 10)")
    parser.add_argument("--quick", action="store_true",
                        help="try everything once, briefly and with little "
                        "data: the figures mean nothing")
    args = parser.parse_args()
    try:
        args.figures = figures.choose(args.only)
    except ValueError as e:
        parser.error(str(e))
    if (args.rounds or 1) < 1 or (args.seconds or 1) <= 0:
        parser.error("--rounds is from 1 on, --seconds above 0")
    return args


def plan(args: argparse.Namespace) -> list[cells.Group]:
    """What to measure, in which order."""
    wanted = [c for f in args.figures for c in f.cells] if args.only \
        else cells.all_cells()
    groups = []
    for group in cells.choose(wanted):
        rounds, span = group.rounds, group.span
        if args.quick:
            rounds, span = 1, places.Span(0.2, 0.05)
        if args.seconds:
            span = dataclasses.replace(span, seconds=args.seconds)
        groups.append(dataclasses.replace(
            group, rounds=args.rounds or rounds, span=span))
    return groups


def announce(groups: list[cells.Group]) -> None:
    """Processes start, tables are made, what is under way ends: half a second
    for each cell, by experience."""
    seconds = sum(g.rounds * len(g.cells)
                  * (g.span.seconds + g.span.warmup + 0.5) for g in groups)
    print("bench: %d things to measure, which takes about %.0f s" % (
        sum(len(g.cells) for g in groups), seconds), file=sys.stderr)


def tell(text: str) -> None:
    """Say what is going on, where somebody looks."""
    if sys.stderr.isatty():
        print("\r\033[K%s" % text, end="", file=sys.stderr, flush=True)


def measure(groups: list[cells.Group], size: places.Size,
            report: dict) -> None:
    """Fill in the report: machine, rounds, failed, others."""
    with servers.workplace() as workplace:
        report["machine"] = machine.describe(str(servers.SQLPOOLD),
                                             str(workplace.path))
        others = machine.Others()
        place = places.Place(workplace, size)
        for group in groups:
            report["rounds"] += cells.run_group(place, group,
                                                report["failed"], tell)
            place.stop()
        report["others"] = others.percent()
    tell("")


def write(lines: list[dict], report: dict) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for name, content in (("results", lines), ("runs", report)):
        with open(OUT / (name + ".json"), "w", encoding="utf-8") as f:
            json.dump(content, f, ensure_ascii=False, indent=1)
            f.write("\n")


def section(title: str, text: str) -> None:
    if text:
        print("\n%s\n\n%s" % (title.upper(), text))


def show(lines: list[dict], report: dict) -> None:
    rounds = report["rounds"]
    print(table.machine(report["machine"], report["others"]))
    section("figures", table.figures(lines))
    section("side by side", side.tables(rounds))
    section("where it loses", side.losses(rounds))
    section("their own tools", "\n".join(side.agreement(rounds)))
    section("runs that failed", "\n".join(
        "%s: %s" % f for f in sorted(report["failed"].items())))


def main() -> int:
    args = read_arguments()
    start = time.monotonic()
    report: dict = {"rounds": [], "failed": {}}
    groups = plan(args)
    announce(groups)
    run.adopt_orphans()
    try:
        measure(groups, places.QUICK if args.quick else places.Size(), report)
    finally:
        run.end_all()
    lines = [figures.judge(f, report["rounds"], report["failed"])
             for f in args.figures]
    write(lines, report)
    show(lines, report)
    print("\n%d of %d figures reach their target; %.0f s; %s" % (
        sum(line["ok"] for line in lines), len(lines),
        time.monotonic() - start, OUT / "results.json"))
    return 1 if report["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
