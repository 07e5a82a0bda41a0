"""Start programs, take their JSON, and let none of them survive.

Whatever is started here, and whatever that starts, ends with this process: the
kernel gives us the orphans of our children (PR_SET_CHILD_SUBREAPER), so that
end_all() finds all of them; and a child is killed when we are (PDEATHSIG), for
the case in which end_all() cannot run.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
PR_SET_CHILD_SUBREAPER = 36
LIBC = ctypes.CDLL(None, use_errno=True)
STOP_S = 10  # what a program may take to end


class RunError(Exception):
    """A run that failed, with its reason: there are no figures from it."""


# --- All of our processes ---------------------------------------------------

def adopt_orphans() -> None:
    """Own what our children leave behind."""
    if LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def find_children() -> list[int]:
    found = []
    for task in os.listdir("/proc/self/task"):
        with open("/proc/self/task/%s/children" % task,
                  encoding="ascii") as f:
            found += [int(p) for p in f.read().split()]
    return found


def end_all() -> None:
    """Kill what is left, generation after generation, and reap it."""
    deadline = time.monotonic() + STOP_S
    while children := find_children():
        if time.monotonic() > deadline:
            print("bench: processes are left: %s" % children, file=sys.stderr)
            return
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass


# --- One of them ------------------------------------------------------------

def die_with_parent() -> None:
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Program:
    """A program at work; ended with the `with` block at the latest.

    It has a session of its own, away from the terminal's Ctrl-C, which is for
    us to handle."""

    def __init__(self, argv: list[str], stdin: int = subprocess.DEVNULL,
                 env: dict[str, str] | None = None) -> None:
        self.name = os.path.basename(argv[0])
        try:
            self.process = subprocess.Popen(
                argv, stdin=stdin, stdout=subprocess.PIPE, env=env,
                stderr=subprocess.PIPE, start_new_session=True,
                preexec_fn=die_with_parent)
        except OSError as e:
            raise RunError("%s: %s" % (argv[0], e.strerror)) from e

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.is_running():
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout,
                     self.process.stderr):
            if pipe:
                pipe.close()

    def is_running(self) -> bool:
        return self.process.poll() is None

    def finish(self, timeout_s: float = 60) -> str:
        """Wait for its end; RunError when it is not a good one."""
        try:
            out, err = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise RunError("%s: not done after %g s" % (
                self.name, timeout_s)) from None
        status = self.process.returncode
        if status != 0:
            raise RunError("%s: %s" % (
                self.name, find_error(err.decode(errors="replace"))
                or "ended with status %d" % status))
        return out.decode(errors="replace")


def find_error(text: str) -> str:
    """The line of what a program said that says what is wrong."""
    lines = text.strip().splitlines()
    for line in lines:
        if "error:" in line.lower():
            return line[line.lower().index("error:") + 6:].strip()
    return lines[-1] if lines else ""


def output(argv: list[str], timeout_s: float = 60) -> str:
    """What a program prints."""
    with Program(argv) as program:
        return program.finish(timeout_s)


# --- Loads ------------------------------------------------------------------

def parse(name: str, out: str) -> dict:
    """The JSON of a run that ended well."""
    try:
        result = json.loads(out)
    except ValueError as e:
        raise RunError("%s printed no JSON: %s" % (name, e)) from e
    if result.get("ops") == 0:
        raise RunError("%s: nothing ended in its time" % name)
    return result


def load(argv: list[str], timeout_s: float = 60) -> dict:
    """Run a generator to its end."""
    with Program(argv) as program:
        return parse(program.name, program.finish(timeout_s))
