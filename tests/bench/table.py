"""Print what was measured, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Of a core.  What the kernel does for our own writes is some 10 % of one.
BUSY_PERCENT = 50


def number(value: float | None) -> str:
    """Three digits that count; thousands grouped."""
    if value is None:
        return "-"
    if math.isinf(value):
        return "inf"
    size = float(f"{abs(value):.2e}")  # 9.996 is 10.0
    if size >= 100:
        return f"{value:,.0f}"
    digits = 2 if size == 0 else max(0, 2 - math.floor(math.log10(size)))
    return f"{value:.{min(digits, 5)}f}"


def micros(value: float | None) -> str:
    """A time given in microseconds, with a unit."""
    if value is None:
        return "-"
    for unit, size in (("µs", 1), ("ms", 1e3), ("s", 1e6)):
        if value < 999.5 * size or unit == "s":
            return "%s %s" % (number(value / size), unit)
    return "-"


def align(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Columns; those in `left` begin where they begin, others end together."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [c.ljust(w) if i in left else c.rjust(w)
                 for i, (c, w) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def spread(low_high: Sequence[float] | None) -> str:
    if low_high is None:
        return "-"
    return "%s to %s" % (number(low_high[0]), number(low_high[1]))


def figures(lines: list[dict]) -> str:
    """The table of results.json, and why some have no figure."""
    rows = [["id", "figure", "target", "result", "lowest to highest", "ok"]]
    for f in lines:
        rows.append([f["id"], f["what"], f["target"], number(f["value"]),
                     spread(f["spread"]), "yes" if f["ok"] else "NO"])
    text = align(rows, left=(0, 1))
    for f in lines:
        if "why" in f:
            text += "\n%s has no figure: %s" % (f["id"], f["why"])
    return text


def machine(m: dict, others: dict[str, float]) -> str:
    """What it ran on."""
    versions = ", ".join("%s %s" % v for v in m["versions"].items())
    rows = [
        ["machine", "%d CPUs, %s; %g GiB" % (m["cores"], m["cpu"],
                                             m["memory_gib"])],
        ["kernel", m["kernel"]],
        ["disk", "%s; a synced write takes %s, at worst %s" % (
            m["filesystem"], micros(m["sync_us_p50"]),
            micros(m["sync_us_worst"]))],
        ["versions", versions],
        ["load", "average at the start %s; busy then: %s" % (
            " ".join("%g" % x for x in m["load_average"]),
            ", ".join(m["busiest"]) or "nobody")],
        ["others", "kernel threads and other programs took %.0f %% of a core "
         "during the run, the hypervisor %.0f %%" % (others["others"],
                                                     others["stolen"])],
    ]
    if sum(others.values()) > BUSY_PERCENT:
        rows.append(["", "SO MUCH THAT NOTHING BELOW IS TO BE RELIED ON"])
    return align(rows, left=(0, 1))
