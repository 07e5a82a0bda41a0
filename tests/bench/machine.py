"""Describe the machine: what it is, and how busy others keep it."""

from __future__ import annotations

import os
import platform
import re
import resource
import statistics
import subprocess
import time

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def read_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def find_cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.*)$", read_text("/proc/cpuinfo"),
                      re.M)
    return found.group(1) if found else platform.machine()


def find_memory_gib() -> float:
    found = re.search(r"^MemTotal:\s*(\d+) kB", read_text("/proc/meminfo"),
                      re.M)
    return int(found.group(1)) / 1024 / 1024 if found else 0.0


def find_filesystem(path: str) -> str:
    """The type, mount point and options of the filesystem that holds path."""
    path = os.path.realpath(path)
    best = ("", "unknown", "")
    for line in read_text("/proc/self/mountinfo").splitlines():
        head, _, tail = line.partition(" - ")
        point = head.split()[4]
        inside = point == "/" or (path + "/").startswith(point + "/")
        if inside and len(point) >= len(best[0]):
            best = (point, tail.split()[0], head.split()[5])
    return "%s at %s (%s)" % (best[1], best[0], best[2])


def measure_sync_us(directory: str, times: int = 200) -> tuple[float, float]:
    """p50 and worst of writing 4 KiB and waiting for the disk, microseconds."""
    path = os.path.join(directory, "sync-probe")
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    took = []
    try:
        for i in range(times):
            start = time.perf_counter_ns()
            os.pwrite(fd, b"\0" * 4096, i * 4096)
            os.fdatasync(fd)
            took.append((time.perf_counter_ns() - start) / 1000)
    finally:
        os.close(fd)
        os.unlink(path)
    return statistics.median(took), max(took)


# --- Versions ---------------------------------------------------------------

def first_line(argv: list[str]) -> str:
    """The first line a program prints, or why there is none."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, timeout=10,
                              stderr=subprocess.STDOUT, check=False)
    except FileNotFoundError:
        return "not installed"
    except subprocess.TimeoutExpired:
        return "no answer"
    lines = done.stdout.decode(errors="replace").splitlines()
    return lines[0].strip() if lines else "silent"


def short_version(line: str) -> str:
    found = re.search(r"\d+\.\d+(\.\d+)?", line)
    return found.group(0) if found else line


def find_versions(sqlpoold: str) -> dict[str, str]:
    """Name to version of everything that is measured."""
    postgres = "/usr/lib/postgresql/15/bin/postgres"
    own = first_line([sqlpoold, "-V"])
    sqlite = re.search(r"SQLite ([\d.]+)", own)
    return {
        "sqlpoold": short_version(own),
        "SQLite": sqlite.group(1) if sqlite else own,
        "Redis": short_version(first_line(["redis-server", "--version"])),
        "PostgreSQL": short_version(first_line([postgres, "--version"])),
        "PgBouncer": short_version(first_line(["pgbouncer", "--version"])),
        "Python": platform.python_version(),
        "aiosqlite": short_version(first_line(
            ["/usr/bin/python3", "-c",
             "import aiosqlite; print(aiosqlite.__version__)"])),
    }


# --- Who else is at work ----------------------------------------------------

def read_cpu_s() -> dict[str, float]:
    """Seconds that all processors together were busy, and were stolen."""
    fields = [int(f) for f in
              read_text("/proc/stat").split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _wait, irq, softirq, steal = fields
    return {"busy": (user + nice + system + irq + softirq) * TICK_S,
            "steal": steal * TICK_S}


def read_own_cpu_s() -> float:
    """Processor time of this process and of all its that have ended."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        total += used.ru_utime + used.ru_stime
    return total


class Others:
    """What others took of the processors since this was made.

    Of our own processes only those count that have ended; so ask when all
    have.  Kernel threads are among the others."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.cpu = read_cpu_s()
        self.own = read_own_cpu_s()

    def percent(self) -> dict[str, float]:
        """Percent of one core: others, and what the hypervisor took."""
        wall = time.monotonic() - self.start
        cpu = read_cpu_s()
        others = cpu["busy"] - self.cpu["busy"] - (read_own_cpu_s() - self.own)
        return {"others": 100 * max(0.0, others) / wall,
                "stolen": 100 * (cpu["steal"] - self.cpu["steal"]) / wall}


def name_busiest(seconds: float, least_percent: float = 5) -> list[str]:
    """Other programs that take a notable part of a core right now."""
    def sample() -> dict[str, tuple[str, int]]:
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            stat = read_text("/proc/%s/stat" % pid)
            if stat and int(pid) != os.getpid():
                name = stat[stat.index("(") + 1:stat.rindex(")")]
                rest = stat[stat.rindex(")") + 2:].split()
                found[pid] = (name, int(rest[11]) + int(rest[12]))
        return found

    before = sample()
    time.sleep(seconds)
    busy = []
    for pid, (name, ticks) in sample().items():
        used = ticks - before.get(pid, (name, 0))[1]
        percent = 100 * used * TICK_S / seconds
        if percent >= least_percent:
            busy.append((percent, name))
    return ["%s %.0f %%" % (name, percent)
            for percent, name in sorted(busy, reverse=True)[:5]]


# --- All together -----------------------------------------------------------

def describe(sqlpoold: str, directory: str) -> dict[str, object]:
    """Everything a reader needs to judge absolute numbers; takes a second."""
    busiest = name_busiest(1.0)
    sync_p50, sync_worst = measure_sync_us(directory)
    return {
        "cpu": find_cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(find_memory_gib(), 1),
        "kernel": "%s %s" % (os.uname().sysname, os.uname().release),
        "filesystem": find_filesystem(directory),
        "sync_us_p50": round(sync_p50, 1),
        "sync_us_worst": round(sync_worst, 1),
        "load_average": [round(x, 2) for x in os.getloadavg()],
        "busiest": busiest,
        "versions": find_versions(sqlpoold),
    }
