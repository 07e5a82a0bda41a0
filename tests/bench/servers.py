#!/usr/bin/python3
"""Start and stop the servers that the benchmark compares, each with settings
that are sensible for it; every setting stands here, with its reason.

    with servers.workplace() as place:
        with servers.Redis(place) as redis:
            run("peer_redis", "-s", redis.socket)

All of them listen on Unix sockets in a fresh directory and nowhere else, keep
their data there, and are children of this process.  At the end of a `with`
block they are stopped, and the directory is removed: also after an exception,
SIGINT, SIGTERM or SIGHUP.  If this process is killed outright, the kernel stops
them (PR_SET_PDEATHSIG).  Clusters and services of the system are not touched.

What is the same for all: the machine, the file system (TMPDIR chooses it, as
for the daemon and the SQLite files), Unix stream sockets, no password, no TLS,
no log of statements.  Where a write is compared, a write is durable: it is
acknowledged after a sync to disk.

`servers.py NAME [COMMAND ARG...]` starts one by hand, prints where it listens,
runs the command (or waits for Ctrl-C) and stops it.
"""
from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", TOP / "build/release"))
SQLPOOLD = pathlib.Path(os.environ.get("SQLPOOLD", BUILD / "sqlpoold"))
POSTGRES_BIN = pathlib.Path("/usr/lib/postgresql/15/bin")

START_S = 30.0  # a server that is not ready by then has failed
STOP_S = 20.0  # and one that has not ended by then is killed
POLL_S = 0.02  # between two questions whether it is ready
CLIENTS_MAX = 1100  # scaling goes to 1,000


class ServerError(Exception):
    """A server did not start, or ended by itself."""


class Workplace:
    """A directory, and the servers that run in it."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.running: list[Server] = []

    def stop_all(self) -> None:
        """Stop what still runs, the last first."""
        while self.running:
            self.running[-1].stop()


def _on_signal(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def workplace() -> Iterator[Workplace]:
    """Make the directory; stop and remove everything at the end."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # a server and a generator each have a descriptor per client
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    before = {s: signal.signal(s, _on_signal) for s in signals}
    place = Workplace(pathlib.Path(tempfile.mkdtemp(prefix="sqlpool-bench.")))
    try:
        # PostgreSQL's user has to pass through when we are root
        place.path.chmod(0o711)
        yield place
    finally:
        for s in signals:  # a second Ctrl-C must not leave things behind
            signal.signal(s, signal.SIG_IGN)
        try:
            place.stop_all()
        finally:
            shutil.rmtree(place.path)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for s, handler in before.items():
                signal.signal(s, handler)


class Server:
    """A child process with a socket, in a directory of its own."""

    name = "server"
    stop_signal = signal.SIGTERM
    user: str | None = None  # another one's name, when we are root

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self.dir = pathlib.Path(tempfile.mkdtemp(
            prefix=f"{self.name}.", dir=place.path))
        self.socket = str(self.dir / "socket")
        self.process: subprocess.Popen[str] | None = None
        if self.user:
            shutil.chown(self.dir, self.user, self.user)

    # What a server says of itself:

    def command(self) -> list[str]:
        """argv of the server, in the foreground."""
        raise NotImplementedError

    def prepare(self) -> None:
        """What comes before the start."""

    def is_ready(self) -> bool:
        """Whether it answers."""
        return can_connect(self.socket)

    def settle(self) -> None:
        """What comes once it is ready."""

    # The same for all:

    @property
    def pid(self) -> int:
        """The process, for those who want to know its memory or CPU time."""
        assert self.process
        return self.process.pid

    @property
    def log(self) -> pathlib.Path:
        """What it wrote."""
        return self.dir.with_suffix(".log")

    def as_user(self, argv: list[str], parent_died: str = "TERM") -> list[str]:
        """argv as the server's user, ended with this process."""
        prefix = ["setpriv", f"--pdeathsig={parent_died}"]
        if self.user:
            prefix += [f"--reuid={self.user}", f"--regid={self.user}",
                       "--init-groups"]
        return [*prefix, "--", *argv]

    def run(self, *argv: str) -> None:
        """Run a tool of the server's to its end."""
        done = subprocess.run(self.as_user(list(argv)), cwd=self.dir,
                              stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False)
        if done.returncode != 0:
            raise ServerError(f"{' '.join(argv)}: {done.stderr.strip()}")

    def start(self) -> Server:
        """Start it and wait until it answers."""
        self.place.running.append(self)
        self.prepare()
        with self.log.open("w") as log:
            # a session of its own: the terminal's Ctrl-C is for us to handle
            self.process = subprocess.Popen(
                self.as_user(self.command()), cwd=self.dir, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                start_new_session=True)
        deadline = time.monotonic() + START_S
        while not self.is_ready():
            if self.process.poll() is not None:
                self.fail(f"ended with status {self.process.returncode}")
            if time.monotonic() > deadline:
                self.fail(f"was not ready after {START_S:.0f} s")
            time.sleep(POLL_S)
        self.settle()
        return self

    def fail(self, what: str) -> None:
        """Raise, with what the server said."""
        words = self.log.read_text(errors="replace").strip()[-1000:]
        raise ServerError(f"{self.name} {what}: {words}")

    def stop(self) -> None:
        """Stop it and forget its files.  Raises if it had ended by itself."""
        if self in self.place.running:
            self.place.running.remove(self)
        process, self.process = self.process, None
        ended = process.poll() if process else None
        if process and ended is None:
            process.send_signal(self.stop_signal)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process and process.stdout:
            process.stdout.close()
        shutil.rmtree(self.dir)
        if ended is not None:
            self.fail(f"had ended by itself, with status {ended}")

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()


def can_connect(path: str) -> bool:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        try:
            s.connect(path)
        except OSError:
            return False
    return True


def postgres_user() -> str | None:
    """PostgreSQL and PgBouncer refuse to run as root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise ServerError("there is no user postgres to run it as") from None


class SaysReady(Server):
    """One that writes a line to its stdout when it listens."""

    def is_ready(self) -> bool:
        assert self.process and self.process.stdout
        if not select.select([self.process.stdout], [], [], 0)[0]:
            return False
        return self.process.stdout.readline() != ""


class Sqlpoold(SaysReady):
    """The daemon.  Its defaults: synchronous=full, a worker per CPU, 16 MB of
    cache for each connection.

    path: the database file, served under the name `bench`; by default a new one.
    options: those of sqlpoold.conf(5), e.g. {"workers": "1"}.
    preload: a library of tests/bench/preload that makes another daemon of it."""

    name = "sqlpoold"

    def __init__(self, place: Workplace, path: str | None = None,
                 options: dict[str, str] | None = None,
                 preload: str | None = None) -> None:
        super().__init__(place)
        self.preload = preload
        self.path = path or str(self.dir / "bench.db")
        self.options = {"max_clients": str(15000), **(options or {})}

    def command(self) -> list[str]:
        argv = [str(SQLPOOLD), "-s", self.socket]
        if self.preload:  # env(1) becomes the daemon
            argv[:0] = ["env", "LD_PRELOAD=%s" % (
                BUILD / "tests/bench/preload" / self.preload)]
        for key, value in self.options.items():
            argv += ["-o", f"{key}={value}"]
        return [*argv, f"bench={self.path}"]


class Echo(SaysReady):
    """The floor: echo_server answers each frame with one of the size that the
    client asks for, and does nothing else.

    loops: threads with an epoll loop.  One is what R1 compares with: a second
    one takes CPU from the generator on a machine with two cores.
    blocking: a thread for each connection instead, which sleeps in read(2): the
    least that a round trip between two processes costs (R5)."""

    name = "echo"

    def __init__(self, place: Workplace, loops: int = 1,
                 blocking: bool = False) -> None:
        super().__init__(place)
        self.loops = loops
        self.blocking = blocking

    def command(self) -> list[str]:
        argv = [str(BUILD / "tests/bench/echo_server"), "-s", self.socket]
        return argv + (["-b"] if self.blocking else ["-w", str(self.loops)])


class Redis(Server):
    """Redis 7.0 as Debian ships it.

    durable: an append-only file with a sync before each answer (Redis shares
    it among the commands of a turn of its loop), so that an acknowledged write
    is on disk, as with the others.  Off, nothing is written at all, neither a
    file nor snapshots: the fastest Redis there is, for reads."""

    name = "redis"

    def __init__(self, place: Workplace, durable: bool = False) -> None:
        super().__init__(place)
        self.durable = durable

    def command(self) -> list[str]:
        settings = {
            "port": "0",  # no TCP
            "unixsocket": self.socket,
            "unixsocketperm": "700",
            "dir": str(self.dir),
            "save": "",  # a snapshot would fork in the middle of a run
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "always",
            "maxclients": str(20000),
            # io-threads stays 1: Redis advises more only from 4 cores on, and
            # two cores are shared with the generator
        }
        argv = ["redis-server"]
        for key, value in settings.items():
            argv += [f"--{key}", value]
        return argv

    def is_ready(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(1)
            try:
                s.connect(self.socket)
                s.sendall(b"PING\r\n")
                return s.recv(16) == b"+PONG\r\n"
            except OSError:
                return False


class Postgres(Server):
    """PostgreSQL 15 as Debian ships it, in a cluster of its own; `socket` is
    the directory that libpq calls the host.  Database and user are `bench`.

    It answers each client in a process of its own, so its reads use both
    cores, and its writers share syncs as they come (commit_delay stays 0)."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": do not wait for clients to leave
    settings = {
        "listen_addresses": "",  # no TCP
        "unix_socket_permissions": "0700",
        "max_connections": str(CLIENTS_MAX),
        # the working set in memory, as with the others; the default of 128 MB
        # is for a machine whose size is not known
        "shared_buffers": "512MB",
        # durable, as everybody here; these two are the defaults
        "fsync": "on",
        "synchronous_commit": "on",
        # nobody replicates from it: the least WAL
        "wal_level": "minimal",
        "max_wal_senders": "0",
        # no checkpoint in the middle of a short run for lack of room
        "max_wal_size": "4GB",
        # planning for the compiler costs more than a point read
        "jit": "off",
        # autovacuum stays on: without it, updates would slow down
        "logging_collector": "off",
        "log_min_messages": "warning",
        "log_checkpoints": "off",
    }

    def __init__(self, place: Workplace,
                 settings: dict[str, str] | None = None) -> None:
        self.user = postgres_user()
        super().__init__(place)
        self.data = self.dir / "data"
        self.socket = str(self.dir)
        self.settings = {**self.settings, **(settings or {})}

    def prepare(self) -> None:
        # the C locale: texts compare as bytes, as in SQLite.  Its files are
        # synced here, or the kernel would write them during the first run
        self.run(str(POSTGRES_BIN / "initdb"), "-D", str(self.data), "-U",
                 "bench", "-A", "trust", "-E", "UTF8", "--locale=C",
                 "--no-instructions")

    def command(self) -> list[str]:
        argv = [str(POSTGRES_BIN / "postgres"), "-D", str(self.data), "-k",
                self.socket]
        for key, value in self.settings.items():
            argv += ["-c", f"{key}={value}"]
        return argv

    def as_user(self, argv: list[str], parent_died: str = "QUIT") -> list[str]:
        # QUIT is "immediate": TERM would wait for the clients
        return super().as_user(argv, parent_died)

    def is_ready(self) -> bool:
        return subprocess.run(
            [str(POSTGRES_BIN / "pg_isready"), "-q", "-h", self.socket,
             "-d", "postgres", "-U", "bench"], check=False).returncode == 0

    def settle(self) -> None:
        self.run(str(POSTGRES_BIN / "createdb"), "-h", self.socket, "-U",
                 "bench", "bench")


class PgBouncer(Server):
    """PgBouncer 1.18 in front of a Postgres; `socket` is its directory.

    mode "session": a client keeps its server connection, so prepared statements
    work and PgBouncer only passes bytes on; the pool is as large as need be.
    mode "transaction": what it is made for, a few server connections for many
    clients.  1.18 cannot use prepared statements there, so the generator sends
    SQL and values each time (-o prepare=no), as applications have to."""

    name = "pgbouncer"
    stop_signal = signal.SIGTERM  # at once; INT waits for clients

    def __init__(self, place: Workplace, postgres: Postgres,
                 mode: str = "transaction", pool: int = 0) -> None:
        self.user = postgres_user()
        super().__init__(place)
        self.socket = str(self.dir)
        self.postgres = postgres
        self.mode = mode
        # PostgreSQL's own rule of thumb for active connections is cores * 2
        # and one for the disk; a few more keep commits shared
        self.pool = pool or (CLIENTS_MAX - 10 if mode == "session" else 16)

    def prepare(self) -> None:
        config = self.dir / "pgbouncer.ini"
        users = self.dir / "users.txt"
        users.write_text('"bench" ""\n')
        config.write_text(f"""\
[databases]
bench = host={self.postgres.socket} dbname=bench user=bench
[pgbouncer]
listen_port = 5432
unix_socket_dir = {self.dir}
unix_socket_mode = 0700
auth_type = trust
auth_file = {users}
pool_mode = {self.mode}
default_pool_size = {self.pool}
max_client_conn = {CLIENTS_MAX}
; as libpq asks for it, and PgBouncer cannot pass it on
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
log_stats = 0
""")
        if self.user:
            for path in (config, users):
                shutil.chown(path, self.user, self.user)

    def command(self) -> list[str]:
        return ["pgbouncer", "-q", str(self.dir / "pgbouncer.ini")]

    def is_ready(self) -> bool:
        return can_connect(self.socket + "/.s.PGSQL.5432")


def main() -> int:
    """Start one by hand."""
    kinds = {c.name: c for c in (Sqlpoold, Echo, Redis, Postgres)}
    if len(sys.argv) < 2 or sys.argv[1] not in kinds:
        print(f"usage: servers.py {'|'.join(kinds)} [COMMAND ARG...]",
              file=sys.stderr)
        return 2
    with workplace() as place, kinds[sys.argv[1]](place) as server:
        print(server.socket, flush=True)
        if len(sys.argv) == 2:
            signal.pause()
        argv = [a.replace("{}", server.socket) for a in sys.argv[2:]]
        return subprocess.run(argv, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
