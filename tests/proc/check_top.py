#!/usr/bin/python3
"""sqlpool-cli -top in a terminal (tmux) with a real load, and -stat."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
DAEMON = os.environ["SQLPOOLD"]
CLI = os.environ["SQLPOOL_CLI"]
SLOW = int(os.environ.get("CK_TIMEOUT_MULTIPLIER", "1"))
WAIT_S = 20 * SLOW


class Top(unittest.TestCase):
    def setUp(self) -> None:
        self.dir = tempfile.mkdtemp(prefix="sqlpool-top.")
        self.socket = self.dir + "/s"
        args = [DAEMON, "-s", self.socket, "-o", "workers=1"]
        if os.getuid() == 0:
            args += ["-u", "root"]
        self.daemon = subprocess.Popen(
            args + [self.dir + "/app.db"], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        assert self.daemon.stdout
        self.assertIn("ready", self.daemon.stdout.readline())
        self.cli("CREATE TABLE t(v)")
        self.others: list[subprocess.Popen] = []
        self.terminals = 0

    def tearDown(self) -> None:
        self.close_terminal()
        for other in self.others:
            other.kill()
            other.communicate()
        self.daemon.send_signal(signal.SIGTERM)
        self.assertEqual(self.daemon.wait(WAIT_S), 0)
        assert self.daemon.stdout
        self.daemon.stdout.close()
        shutil.rmtree(self.dir)

    def cli(self, *sql: str) -> str:
        return subprocess.run([CLI, "-s", self.socket, "app", *sql],
                              check=True, capture_output=True,
                              text=True).stdout

    def shell(self, *lines: str) -> subprocess.Popen:
        """A shell that has run these and stays."""
        one = subprocess.Popen(
            [CLI, "-s", self.socket, "app"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.others.append(one)
        assert one.stdin
        one.stdin.write("\n".join(lines) + "\n")
        one.stdin.flush()
        return one

    def tmux(self, *args: str, check: bool = True) -> str:
        """To the server of the terminal that was opened last."""
        return subprocess.run(
            ["tmux", "-S", f"{self.dir}/tmux{self.terminals}", "-f",
             "/dev/null", *args], check=check, capture_output=True, text=True,
            env={**os.environ, "TERM": "screen", "LC_ALL": "C.UTF-8"}).stdout

    def start(self, columns: int = 80) -> None:
        """-top in a shell, which says so when it has ended.  A server of its own
        each time: one that was told to end may still listen."""
        self.close_terminal()
        self.terminals += 1
        self.tmux("new-session", "-d", "-x", str(columns), "-y", "24", "sh")
        self.tmux("send-keys", "stty -a >%s/before; %s -s %s -top; "
                  "echo ended=$?; stty -a >%s/after; echo restored" % (
                      self.dir, CLI, self.socket, self.dir), "Enter")
        self.see("DATABASE +WRITER")

    def close_terminal(self) -> None:
        if self.terminals:
            self.tmux("kill-server", check=False)

    def see(self, pattern: str, gone: bool = False) -> str:
        """Until the screen shows this."""
        end = time.monotonic() + WAIT_S
        while True:
            screen = self.tmux("capture-pane", "-p")
            if bool(re.search(pattern, screen, re.M)) != gone:
                return screen
            self.assertLess(time.monotonic(), end, f"{pattern}:\n{screen}")

    def keys(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def pid(self) -> int:
        return int(subprocess.run(
            ["pgrep", "-f", f"^{re.escape(CLI)} -s {self.socket} -top"],
            check=True, capture_output=True, text=True).stdout)

    def expect_restored(self) -> None:
        self.see("ended=0$")
        self.see("^restored$")
        self.assertEqual((pathlib.Path(self.dir) / "before").read_text(),
                         (pathlib.Path(self.dir) / "after").read_text())

    def hold(self) -> None:
        """A transaction has the writer, and somebody waits for it."""
        self.shell("BEGIN IMMEDIATE;", "INSERT INTO t VALUES(1);")
        self.start()
        self.see("^app +transaction")
        self.shell("INSERT INTO t VALUES(22222);")
        self.see(r"^app +transaction +\S+ +1 ")

    def test_shows_the_line_and_kills_who_holds_it(self) -> None:
        self.hold()
        screen = self.see("in transaction")
        self.assertLessEqual(max(map(len, screen.split("\n"))), 80)
        self.keys("k")
        self.see("^End client")
        self.keys("x")  # no
        self.see("^q quit")
        self.see("in transaction")
        # the one that waits has been at it for longer, so it stands first; what
        # was chosen before it came is the other one still
        self.keys("k")
        self.see("^End client")
        self.keys("y")
        self.see("^KILL .*: done")
        self.see("in transaction", gone=True)
        self.see(r"^app +idle +- +0 ")
        self.keys("q")
        self.expect_restored()
        self.assertEqual(self.cli("SELECT v FROM t"), "22222\n")

    def test_cancels_a_request(self) -> None:
        self.hold()
        self.keys("Up")  # it has been at it for longest
        self.keys("c")
        self.see("^Cancel the request of client")
        self.keys("y")
        self.see("^CANCEL .*: done")
        self.see(r"^app +transaction +\S+ +0 ")
        self.keys("s")
        self.see("sort: requests")
        self.keys("q")
        self.expect_restored()

    def test_shows_a_load_as_it_is_now(self) -> None:
        self.start()
        busy = subprocess.Popen(
            ["sh", "-c", "yes 'SELECT 1;' | %s -s %s app" % (
                CLI, self.socket)], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True)
        self.addCleanup(busy.wait)
        self.see(r"reads [1-9]\d*")
        os.killpg(busy.pid, signal.SIGTERM)
        self.keys("q")
        self.expect_restored()

    def test_shows_which_statements_take_the_time(self) -> None:
        self.start()
        self.cli(*["SELECT 'hard', count(*) FROM t x, t y, t z"] * 2)
        busy = subprocess.Popen(
            ["sh", "-c", "yes \"SELECT 'easy';\" | %s -s %s app" % (
                CLI, self.socket)], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True)
        self.addCleanup(busy.wait)
        self.keys("t")
        self.see(r"^ +CALLS/S +MS/S +MEAN +P99 +ERRORS DATABASE +STATEMENT$")
        screen = self.see(r"^ +[1-9]\d+ +\d+\.\d +\S+ms +\S+ms +0 app +"
                          "SELECT 'easy'")
        self.assertRegex(screen, r"(?m)^ +0 +0\.0 .* app +SELECT 'hard'")
        self.assertLessEqual(max(map(len, screen.split("\n"))), 80)
        self.keys("k")  # which is about clients
        self.keys("s")
        self.see("t clients  s sort: calls$")
        os.killpg(busy.pid, signal.SIGTERM)
        self.keys("t")
        self.see("^ *CLIENT +PID")
        self.see("t statements")
        self.keys("q")
        self.expect_restored()

    def test_signals_leave_the_terminal_as_it_was(self) -> None:
        for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signo=signo):
                self.start()
                os.kill(self.pid(), signo)
                self.expect_restored()

    def test_stops_and_goes_on(self) -> None:
        self.start()
        os.kill(self.pid(), signal.SIGTSTP)
        self.see("Stopped|stopped")
        self.keys("fg", "Enter")
        self.see("DATABASE +WRITER")
        self.keys("q")
        self.see("DATABASE +WRITER", gone=True)

    def test_fits_another_size(self) -> None:
        self.start()
        self.tmux("resize-window", "-x", "50", "-y", "12")
        end = time.monotonic() + WAIT_S
        while True:
            lines = self.tmux("capture-pane", "-p").rstrip("\n").split("\n")
            if len(lines) <= 12 and lines[-1].startswith("q quit") and \
                    lines[0].count("sqlpoold") == 1:
                break
            self.assertLess(time.monotonic(), end, lines)
        self.keys("q")
        self.see("^restored$")

    def test_needs_a_terminal(self) -> None:
        done = subprocess.run([CLI, "-s", self.socket, "-top"],
                              stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("needs a terminal", done.stderr)

    def test_stat_prints_a_line_each_second(self) -> None:
        stat = subprocess.Popen([CLI, "-s", self.socket, "-stat"],
                                stdout=subprocess.PIPE, text=True)
        self.others.append(stat)
        assert stat.stdout
        self.assertIn("write/s", stat.stdout.readline())
        stat.stdout.readline()
        began = time.monotonic()
        self.cli(*["INSERT INTO t VALUES(1)"] * 30)
        seen = 0.0
        while seen < 25:
            line = stat.stdout.readline().split()
            self.assertEqual(len(line), 12)
            seen += float(line[4])
        self.assertLess(time.monotonic() - began, WAIT_S)
        self.assertLess(seen, 36)

    def test_bounds_are_the_daemons(self) -> None:
        def numbers(path: str, pattern: str) -> list[int]:
            found = re.search(pattern, (TOP / path).read_text(), re.S)
            assert found
            return [int(n) for n in re.findall(r"\d+", found.group(1))]
        self.assertEqual(
            numbers("client/cli/view.c", r"bounds\[[^]]*\] = \{(.*?)\}"),
            numbers("daemon/stats.c", r"#define TIMES\s*\\\s*\{(.*?)\}"))


if __name__ == "__main__":
    done = unittest.main(exit=False, verbosity=0).result
    print("100%%: Checks: %d, Failures: %d, Errors: %d" % (
        done.testsRun, len(done.failures), len(done.errors)))
    sys.exit(not done.wasSuccessful())
