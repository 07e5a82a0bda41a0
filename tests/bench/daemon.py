"""The daemon as the benchmark runs it, and what can be seen of it from outside.

Memory and processor time are the kernel's figures for the process
(https://man7.org/linux/man-pages/man5/proc.5.html), counters its own.
"""

from __future__ import annotations

import os
import re
import select

import run
import servers

CLI = str(servers.BUILD / "sqlpool-cli")


class Daemon(servers.Sqlpoold):
    """databases: how many; they are called bench, bench1, bench2, ..."""

    def __init__(self, place: servers.Workplace, path: str | None = None,
                 databases: int = 1, preload: str | None = None,
                 **options: str) -> None:
        super().__init__(place, path, options, preload)
        library = servers.BUILD / "tests/bench/preload" / (preload or "")
        if preload and not library.exists():
            # the loader would go on without it
            raise servers.ServerError("there is no %s" % library)
        self.databases = ["bench"] + ["bench%d" % i
                                      for i in range(1, databases)]

    def command(self) -> list[str]:
        more = ["%s=%s" % (name, self.dir / (name + ".db"))
                for name in self.databases[1:]]
        return super().command() + more

    def is_ready(self) -> bool:
        # sleep here and not between two questions
        assert self.process and self.process.stdout
        select.select([self.process.stdout], [], [], servers.START_S)
        return super().is_ready()

    def ask(self, database: str, *sql: str) -> str:
        return run.output([CLI, "-s", self.socket, database, *sql])

    def stats(self) -> dict[str, int]:
        rows = [line.split("|") for line in
                self.ask("@admin", "SHOW STATS").splitlines()]
        return {row[0]: int(row[1]) for row in rows}

    # --- From outside -------------------------------------------------------

    def read(self, name: str) -> str:
        with open("/proc/%d/%s" % (self.pid, name), encoding="ascii") as f:
            return f.read()

    def cpu_ns(self) -> int:
        """Time on a processor of all its threads, to the nanosecond."""
        total = 0
        for task in os.listdir("/proc/%d/task" % self.pid):
            total += int(self.read("task/%s/schedstat" % task).split()[0])
        return total

    def memory_bytes(self, which: str = "VmRSS") -> int:
        found = re.search(r"^%s:\s*(\d+) kB" % which, self.read("status"),
                          re.M)
        return int(found.group(1)) * 1024 if found else 0

    def reset_peak(self) -> None:
        """Begin VmHWM anew: proc(5), /proc/PID/clear_refs, 5."""
        with open("/proc/%d/clear_refs" % self.pid, "w",
                  encoding="ascii") as f:
            f.write("5")

    def wal_bytes(self) -> int:
        try:
            return os.stat(self.path + "-wal").st_size
        except FileNotFoundError:
            return 0
