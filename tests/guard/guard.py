#!/usr/bin/python3
"""Compare what the hot paths cost with what is kept in instructions.txt.

    guard.py [--keep] [--dump PATH] PROGRAM

PROGRAM (paths.c) walks the paths under callgrind, which counts instructions:
they do not depend on what else the machine does. What costs time and no
instructions is counted as well: system calls, and looks at the clock. Exit
status 1 when a count has grown by more than 5 %; --keep rewrites the file;
--dump lists a path's functions.
"""
import argparse
import collections
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import Callable

KEPT = pathlib.Path(__file__).with_name("instructions.txt")
LIMIT = 0.05
# What the counts depend on besides our own sources.
PACKAGES = ["gcc", "libc6", "libevent-core-2.1-7", "libsqlite3-0", "valgrind"]
# The C library's functions for strings as every x86-64 has them: which ones it
# takes depends on the processor.
TUNABLES = ("glibc.cpu.hwcaps=-AVX2,-AVX,-AVX_Fast_Unaligned_Load,-ERMS,-BMI2,"
            "-MOVBE,-SSE4_2,-SSSE3,-SSE4_1")
PROGRAM = "paths"
SQLITE = "libsqlite3.so"
# (poll is stage.c's own, which calls ppoll.)
SYSTEM_CALLS = set("""epoll_wait epoll_ctl ppoll read write recv send
    recvmsg sendmsg readv writev pread pread64 pwrite pwrite64 fdatasync fsync
    fcntl fcntl64 fstat fstat64 ftruncate ftruncate64 mmap munmap""".split())


class Profile:
    """One dump of callgrind, as its manual describes the format."""

    def __init__(self, path: pathlib.Path) -> None:
        self.name = ""
        self.own: collections.Counter = collections.Counter()
        self.calls: collections.Counter = collections.Counter()
        self.inside: collections.Counter = collections.Counter()
        self._names: dict[tuple[str, str], str] = {}
        self._read(path)

    def _look_up(self, space: str, text: str) -> str:
        """"(7) name" gives 7 its name, "(7)" stands for it from then on."""
        number, _, name = text.partition(" ")
        if name:
            self._names[space, number] = name
        return self._names[space, number]

    def _read(self, path: pathlib.Path) -> None:
        at: dict[str, str] = {}
        calls = 0
        for line in path.read_text().splitlines():
            key, _, text = line.partition("=")
            if key in ("ob", "cob"):
                at[key] = self._look_up("ob", text).rpartition("/")[2]
            elif key in ("fn", "cfn"):
                at[key] = self._look_up("fn", text)
            elif key == "calls":
                calls = int(text.split()[0])
            elif line.startswith("desc: Trigger: Client Request: "):
                self.name = line.rpartition(": ")[2]
            elif re.match(r"[-+*\d]", line) and "fn" in at:
                self._count(at, calls, int(line.split()[1]))
                calls = 0

    def _count(self, at: dict[str, str], calls: int, cost: int) -> None:
        here = (at["ob"], at["fn"])
        if calls:
            edge = here, (at.pop("cob", at["ob"]), at["cfn"])
            self.inside[edge] += cost
            # callgrind counts calls also where no instructions are to be
            self.calls[edge] += calls if cost else 0
        else:
            self.own[here] += cost

    def total(self) -> int:
        return sum(self.own.values())

    def under(self, *functions: str) -> int:
        """What these cost with all that they call."""
        costs = {name: 0 for name in functions}
        for ((_, caller), (_, name)), cost in self.inside.items():
            if name in costs and caller not in costs:
                costs[name] += cost
        for name, cost in costs.items():
            if not cost:
                sys.exit(f"guard: path {self.name} does not call {name} any "
                         "more; correct the rows of tests/guard/guard.py")
        return sum(costs.values())

    def sqlite(self, prefix: str = "") -> int:
        """What calls from the program into SQLite cost."""
        return sum(cost for ((ob, _), (to, name)), cost in self.inside.items()
                   if ob == PROGRAM and to.startswith(SQLITE)
                   and name.startswith(prefix))

    def count(self, functions: set[str]) -> int:
        """How often these are called."""
        return sum(n for (_, (_, name)), n in self.calls.items()
                   if name in functions)


def encode(p: Profile) -> int:
    """The bytes of replies, without what SQLite does for their values."""
    return p.under("answer_open", "answer_open_rows", "answer_finish",
                   "stmt_put_columns", "stmt_put_row") - p.sqlite(
                       "sqlite3_column") - p.sqlite("sqlite3_data_count")


def run(p: Profile) -> int:
    return p.under("hot_run", "hot_end_batch") - p.sqlite() - encode(p)


def writer(p: Profile) -> int:
    return p.under("run_writer") - p.sqlite()


def worker(p: Profile) -> int:
    return p.under("run_turn")


def system_calls(p: Profile) -> int:
    return p.count(SYSTEM_CALLS)


def clock_looks(p: Profile) -> int:
    return p.count({"clock_gettime"})


Count = Callable[[Profile], int]
READ_PARTS: dict[str, Count] = {
    "decode": lambda p: p.under("collect_read"),
    "route": lambda p: p.under("router_choose"),
    "run, but for SQLite and encode": run,
    "SQLite": Profile.sqlite,
    "encode": encode,
    "send": lambda p: p.under("client_flush_dirty"),
}


def rest(p: Profile) -> int:
    return p.total() - sum(part(p) for part in READ_PARTS.values())


# path of paths.c: how many requests, what they are called, what is counted
ROWS: dict[str, tuple[int, str, dict[str, Count]]] = {
    "ping": (256, "PING", {
        "the worker's turn": Profile.total,
        "system calls": system_calls}),
    "read": (256, "read, alone", {
        "the worker's turn": Profile.total,
        "system calls": system_calls}),
    "reads": (1024, "read, one of 64 in a turn", {
        "the worker's turn": Profile.total,
        **READ_PARTS,
        "the rest of the turn": rest,
        "system calls": system_calls,
        "looks at the clock": clock_looks}),
    "pipeline": (512, "read, one of 16 from one client", {
        "the worker's turn": Profile.total}),
    "write": (64, "write, alone", {
        "the worker's turns": worker,
        "the writer, but for SQLite": writer,
        "SQLite": Profile.sqlite}),
    "writes": (1024, "write, one of a group of 64", {
        "the worker's turns": worker,
        "the writer, but for SQLite": writer,
        "SQLite": Profile.sqlite,
        "system calls": system_calls,
        "looks at the clock": clock_looks}),
    "query": (256, "client, sqlpool_query and its row", {
        "the library": Profile.total,
        "system calls": system_calls}),
    "send": (512, "client, sqlpool_send and its row, one of 16", {
        "the library": Profile.total}),
}


def walk(program: str) -> dict[str, Profile]:
    """Run the program; gives the paths' profiles by their names."""
    with tempfile.TemporaryDirectory(prefix="guard-") as directory:
        out = pathlib.Path(directory, "out")
        done = subprocess.run(
            ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no",
             "--collect-atstart=no", f"--callgrind-out-file={out}",
             program, directory],
            env={"PATH": "/usr/bin:/bin", "GLIBC_TUNABLES": TUNABLES},
            timeout=120, check=False)
        if done.returncode:
            sys.exit(f"guard: {program} failed, status {done.returncode}")
        profiles = [Profile(p) for p in out.parent.glob("out.*")]
    return {p.name: p for p in profiles}


def dump(p: Profile) -> None:
    """The functions that cost most by themselves, and with what they call."""
    inside: collections.Counter = collections.Counter()
    for ((_, caller), callee), cost in p.inside.items():
        inside[callee] += cost if caller != callee[1] else 0
    for title, costs in (("by itself", p.own), ("with its calls", inside)):
        print(f"{title:>14}  of {p.total()}")
        for (ob, name), cost in costs.most_common(40):
            print(f"{cost:14}  {name} [{ob}]")


def get_versions() -> list[str]:
    found = []
    for package in PACKAGES:
        done = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version} ${Architecture}", package],
            capture_output=True, text=True, check=False)
        found.append(f"# with {package} {done.stdout or 'unknown'}")
    return found


def show(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def keep(now: dict[str, float]) -> None:
    head = ["# The cost of one request on each hot path: instructions, system "
            "calls, looks at the",
            "# clock. make guard fails when one has grown by more than "
            f"{LIMIT:.0%}; make guard-keep",
            "# writes this file."]
    rows = [f"{show(value):>9}  {label}" for label, value in now.items()]
    KEPT.write_text("\n".join(head + get_versions() + rows) + "\n")


def read_kept() -> tuple[dict[str, float], list[str]]:
    lines = KEPT.read_text().splitlines()
    rows = [line.split(maxsplit=1) for line in lines if line[:1] != "#"]
    return ({label: float(value) for value, label in rows},
            [line for line in lines if line.startswith("# with ")])


def compare(now: dict[str, float]) -> int:
    kept, versions = read_kept()
    grown = shrunk = 0
    print(f"{'kept':>9} {'now':>9} {'change':>8}  what one request costs")
    for label, value in now.items():
        if label not in kept:
            print(f"{'-':>9} {show(value):>9} {'new':>8}  {label}")
            continue
        change = float(show(value)) / kept[label] - 1
        mark = "  GROWN" if change > LIMIT else ""
        grown += change > LIMIT
        shrunk += change < -LIMIT
        print(f"{show(kept[label]):>9} {show(value):>9} {change:+8.1%}  "
              f"{label}{mark}")
    for line in set(versions) ^ set(get_versions()):
        print(f"{'kept' if line in versions else 'now'}: {line[2:]}")
    if kept.keys() != now.keys():
        print("guard: the rows are not those that are kept: make guard-keep")
    elif grown:
        print(f"guard: {grown} grew by more than {LIMIT:.0%}: find out why, or "
              "make guard-keep and say in the commit what it pays for")
    elif shrunk:
        print(f"guard: {shrunk} shrank: make guard-keep keeps the gain")
    return 1 if grown or kept.keys() != now.keys() else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Count the hot paths.")
    parser.add_argument("--keep", action="store_true", help="rewrite the file")
    parser.add_argument("--dump", metavar="PATH", help="list its functions")
    parser.add_argument("program")
    args = parser.parse_args()
    profiles = walk(args.program)
    if args.dump:
        dump(profiles[args.dump])
        return 0
    now = {f"{name}: {what}": count(profiles[path]) / n
           for path, (n, name, rows) in ROWS.items()
           for what, count in rows.items()}
    if args.keep:
        keep(now)
        return 0
    return compare(now)


sys.exit(main())
