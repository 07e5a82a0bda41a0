"""Who is measured: programs, the servers behind them, and their tables.

A cell's name says what, by whom, and how much at once: "read/redis/32x16" is
point reads of Redis by 32 clients with 16 requests in flight each.  All drivers
are the same generator (client/bench), so all are told the same:

read     2 processes with 16 clients each.  One with all 32 cannot use more than
         one core, however fast the other side is; 32 processes spend up to
         half of both cores on being switched, with every peer, and then that
         is measured.
write,   a process for each client up to 32, since processes are what the locks
normal   of SQLite's files are made for; 256 clients are 8 in each.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import daemon
import run
import servers

ROWS = 100000  # of 100 bytes of text: they fit into every page cache
PROCESSES = {"read": 2, "write": 32, "normal": 32}
PEERS = servers.BUILD / "tests/bench"
GENERATOR = str(servers.BUILD / "sqlpool-bench")
TABLES = 1000  # of a file whose schema takes time to read


@dataclass(frozen=True)
class Size:
    """How much there is of everything."""
    rows: int = ROWS
    large: int = 1000000  # rows of a large result
    scanned: int = 10000000  # rows that scans go through
    idle: tuple[int, int] = (10000, 1000)  # clients


QUICK = Size(rows=10000, large=20000, scanned=50000, idle=(200, 100))


@dataclass(frozen=True)
class Peer:
    """A driver; the server it talks to for each kind; what it is told."""
    program: str
    server: dict[str, str]
    options: tuple[str, ...] = ()
    divides: bool = True  # its clients may share processes

    def command(self) -> list[str]:
        if self.program.endswith(".py"):
            return [str(servers.TOP / "tests/bench" / self.program)]
        return [str(PEERS / self.program) if self.program.startswith("peer")
                else GENERATOR]


POOL = {"read": "sqlpoold", "write": "sqlpoold", "normal": "sqlpoold-normal"}
FILE = dict.fromkeys(("read", "write", "normal"), "file")
REDIS = {"read": "redis", "write": "redis-durable"}

WHO = {
    "sqlpoold": Peer("sqlpool-bench", POOL),
    "sqlpoold-1": Peer("sqlpool-bench", {"read": "sqlpoold-1"}),
    "sqlpoold-auto": Peer("sqlpool-bench", {"write": "sqlpoold-auto"}),
    "direct": Peer("peer_direct", FILE, divides=False),
    "direct-each": Peer("peer_direct", FILE, ("connect=each",),
                        divides=False),
    "inproc": Peer("peer_inproc", FILE),
    "inproc-512": Peer("peer_inproc", FILE, ("batch=512",)),
    "echo": Peer("peer_echo", {"read": "echo"}),
    "echo-block": Peer("peer_echo", {"read": "echo-block"}),
    "bare": Peer("peer_bare", POOL),
    "redis": Peer("peer_redis", REDIS),
    "postgres": Peer("peer_pg", dict.fromkeys(("read", "write"), "postgres")),
    "pgbouncer": Peer("peer_pg", dict.fromkeys(("read", "write"),
                                               "pgbouncer"), ("prepare=no",)),
    "aiosqlite": Peer("aiosqlite_load.py", FILE, divides=False),
}

# Who makes the tables of a server; the others have none or share them.
MAKERS = {"sqlpoold": "sqlpool-bench", "file": "peer_direct",
          "redis": "peer_redis", "postgres": "peer_pg"}


class File:
    """Not a server: a file that programs open by themselves."""

    def __init__(self, path: str) -> None:
        self.socket = path

    def start(self) -> File:
        return self

    def stop(self) -> None:
        pass


class Place:
    """Servers that run from when they are first asked for until stop()."""

    def __init__(self, workplace: servers.Workplace,
                 size: Size = Size()) -> None:
        self.workplace = workplace
        self.size = size
        self.running: dict[str, Any] = {}

    def make(self, name: str) -> Any:
        w = self.workplace
        makers: dict[str, Callable[[], Any]] = {
            "sqlpoold-normal": lambda: daemon.Daemon(w, synchronous="normal"),
            "sqlpoold-1": lambda: daemon.Daemon(w, workers="1"),
            "sqlpoold-auto": lambda: daemon.Daemon(
                w, preload="autocheckpoint.so"),
            "sqlpoold-scan": lambda: daemon.Daemon(w, path=self.scanned()),
            "wide": lambda: daemon.Daemon(w, path=self.wide()),
            "file": lambda: File(str(w.path / "direct.db")),
            "file-large": lambda: File(str(w.path / "large.db")),
            "echo": lambda: servers.Echo(w),
            "echo-block": lambda: servers.Echo(w, blocking=True),
            "redis": lambda: servers.Redis(w),
            "redis-durable": lambda: servers.Redis(w, durable=True),
            "postgres": lambda: servers.Postgres(w),
            "pgbouncer": lambda: servers.PgBouncer(
                w, self.server("postgres")),
        }
        if name not in makers and name.startswith("sqlpoold"):
            count = name.split("-")[1] if name.endswith("-databases") else 1
            return daemon.Daemon(w, databases=int(count))
        return makers[name]()

    def count_rows(self, name: str) -> int:
        if name.endswith("-large"):
            return self.size.large
        if name.endswith("-databases"):  # there may be many
            return min(1000, self.size.rows)
        return self.size.rows

    def server(self, name: str) -> Any:
        """The server of that name, with its tables."""
        if name in self.running:
            return self.running[name]
        server = self.running[name] = self.make(name).start()
        maker = MAKERS.get(name.split("-")[0])
        for database in getattr(server, "databases", [""]) if maker else []:
            run.output([*Peer(maker, {}).command(), "-s", server.socket, "-q",
                        "--init", "--rows", str(self.count_rows(name)),
                        *([database] if database else [])])
        return server

    def stop(self, *names: str) -> None:
        """Stop these, or all; who needs another one was started later."""
        for name in reversed(names or list(self.running)):
            server = self.running.pop(name, None)
            if server:
                server.stop()

    def scanned(self) -> str:
        """The path of a file with a long table."""
        path = str(self.workplace.path / "scanned.db")
        if not os.path.exists(path):
            db = sqlite3.connect(path, isolation_level=None)
            db.executescript(
                "PRAGMA synchronous=off; PRAGMA journal_mode=off;"
                "CREATE TABLE scanned(id INTEGER PRIMARY KEY, n INTEGER);"
                "WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1"
                " FROM i WHERE n < %d)"
                "INSERT INTO scanned(n) SELECT n FROM i" % self.size.scanned)
            db.close()
        return path

    def wide(self) -> str:
        """The path of a file with many tables."""
        path = str(self.workplace.path / "wide.db")
        if not os.path.exists(path):
            db = sqlite3.connect(path)
            for i in range(TABLES):
                db.execute("CREATE TABLE t%d(id INTEGER PRIMARY KEY, a INT,"
                           " b TEXT NOT NULL, c REAL)" % i)
            db.commit()
            db.close()
        return path


# --- What a generator is told -----------------------------------------------

@dataclass(frozen=True)
class Span:
    """How long it counts, after how long."""
    seconds: float
    warmup: float

    def args(self) -> list[str]:
        return ["-T", "%g" % self.seconds, "--warmup", "%g" % self.warmup]


def parse_name(cell: str) -> tuple[str, str, int, int]:
    """"read/redis/32x16" into kind, who, clients, depth."""
    kind, who, layout = cell.split("/")
    clients, depth = layout.split("x")
    return kind, who, int(clients), int(depth)


def tell(peer: Peer, kind: str, clients: int, depth: int) -> list[str]:
    """The arguments for a load, without where and how long."""
    args = ["--json", "-q", "-m", "write" if kind == "normal" else kind,
            "-c", str(clients)]
    if peer.divides:
        args += ["-j", str(min(clients, PROCESSES[kind]))]
    if depth > 1:
        args += ["-d", str(depth)]
    options = list(peer.options)
    if kind == "normal" and peer.server.get(kind) == "file":
        options.append("synchronous=normal")
    for option in options:
        args += ["-o", option]
    return args


def command(place: Place, cell: str, span: Span) -> list[str]:
    """The whole command that measures a plain cell; starts its server."""
    kind, who, clients, depth = parse_name(cell)
    peer = WHO[who]
    server = place.server(peer.server[kind])
    return [*peer.command(), "-s", server.socket, *span.args(),
            *tell(peer, kind, clients, depth)]
