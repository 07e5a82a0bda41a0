#!/usr/bin/python3
"""The metrics over HTTP, read as Prometheus reads them; and that the alert rules and
the dashboard name nothing else."""

import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import yaml
from prometheus_client.parser import text_string_to_metric_families

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
DAEMON = os.environ["SQLPOOLD"]
CLI = os.environ["SQLPOOL_CLI"]
SLOW = int(os.environ.get("CK_TIMEOUT_MULTIPLIER", "1"))
NAME = re.compile(r"\bsqlpool_\w+")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=20 * SLOW)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Daemon:
    def __init__(self, *options: str, more: int = 0) -> None:
        self.dir = tempfile.mkdtemp(prefix="sqlpool-metrics.")
        self.socket = self.dir + "/s"
        args = [DAEMON, "-s", self.socket]
        if os.getuid() == 0:
            args += ["-u", "root"]
        for option in options:
            args += ["-o", option]
        self.process = subprocess.Popen(
            args + [self.dir + "/app.db"] +
            [self.dir + "/more%d.db" % i for i in range(more)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout
        assert "ready" in self.process.stdout.readline()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30 * SLOW)
        assert self.process.stdout
        self.process.stdout.close()
        shutil.rmtree(self.dir)
        return status

    def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        conn = UnixConnection(self.socket + ".metrics")
        conn.request(method, path)
        reply = conn.getresponse()
        text = reply.read().decode()
        conn.close()
        return reply.status, text

    def cli(self, *args: str) -> str:
        return subprocess.run([CLI, "-s", self.socket, *args], check=True,
                              capture_output=True, text=True).stdout


def parse(text: str) -> dict[str, list]:
    """All samples by name; the parser raises for what is no such page."""
    samples: dict[str, list] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation and family.type != "unknown", family.name
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample)
    return samples


def get(samples: dict[str, list], name: str, **labels: str) -> float:
    found = [s.value for s in samples[name]
             if labels.items() <= s.labels.items()]
    assert len(found) == 1, (name, labels, found)
    return found[0]


class Metrics(unittest.TestCase):
    def start(self, *options: str, more: int = 0) -> Daemon:
        daemon = Daemon(*options, more=more)
        self.addCleanup(daemon.stop)
        return daemon

    def test_page_counts_what_was_done(self) -> None:
        daemon = self.start("workers=1")
        daemon.cli("app", "CREATE TABLE t(v UNIQUE)",
                   "INSERT INTO t VALUES(1)", "SELECT v FROM t")
        subprocess.run([CLI, "-s", daemon.socket, "app",
                        "INSERT INTO t VALUES(1)"], stderr=subprocess.DEVNULL,
                       check=False)
        status, text = daemon.ask("/metrics")
        self.assertEqual(status, 200)
        page = parse(text)
        self.assertEqual(get(page, "sqlpool_writes_total"), 2)
        self.assertEqual(get(page, "sqlpool_errors_by_code_total",
                             code="2067"), 1)
        for name, n in (("inline", 1), ("reader", 0), ("writer", 3)):
            labels = {"database": "app", "road": name}
            self.assertEqual(
                get(page, "sqlpool_execution_seconds_count", **labels), n)
            self.assertEqual(
                get(page, "sqlpool_queue_wait_seconds_bucket", le="+Inf",
                    **labels), n)
        self.assertEqual(get(page, "sqlpool_failed_total", database="app"), 1)
        self.assertEqual(get(page, "sqlpool_databases_open"), 1)
        self.assertEqual(get(page, "sqlpool_writer_queue", database="app"), 0)
        self.assertGreater(get(page, "sqlpool_memory_bytes"), 1 << 20)
        self.assertEqual(get(page, "sqlpool_info"), 1)

    def test_buckets_hold_what_is_below_them(self) -> None:
        daemon = self.start()
        daemon.cli("app", *["SELECT 1"] * 20)
        buckets = [s for s in parse(daemon.ask("/metrics")[1])
                   ["sqlpool_execution_seconds_bucket"]
                   if s.labels["road"] == "inline"]
        bounds = [float(s.labels["le"]) for s in buckets]
        self.assertEqual(bounds, sorted(bounds))
        self.assertAlmostEqual(bounds[0], 50e-6)
        self.assertAlmostEqual(bounds[-2], 10)
        counts = [s.value for s in buckets]
        self.assertEqual(counts, sorted(counts))
        self.assertEqual(counts[-1], 20)

    def test_shell_prints_the_same_page(self) -> None:
        daemon = self.start()
        self.assertEqual(
            parse(daemon.cli("--metrics")).keys(),
            parse(daemon.ask("/metrics")[1]).keys())

    def test_other_paths_and_methods_are_refused(self) -> None:
        daemon = self.start()
        self.assertEqual(daemon.ask("/healthz"), (200, "ok\n"))
        self.assertEqual(daemon.ask("/readyz"), (200, "ready\n"))
        self.assertEqual(daemon.ask("/")[0], 404)
        self.assertEqual(daemon.ask("/metrics/x")[0], 404)
        self.assertGreaterEqual(daemon.ask("/metrics", "POST")[0], 400)

    def test_readyz_says_that_it_stops(self) -> None:
        daemon = self.start("shutdown_grace=1h")
        holder = subprocess.Popen(
            [CLI, "-s", daemon.socket, "app"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        assert holder.stdin and holder.stdout
        holder.stdin.write("CREATE TABLE t(v);\nBEGIN IMMEDIATE;\n"
                           "INSERT INTO t VALUES(1);\nSELECT 'held';\n")
        holder.stdin.flush()
        self.assertEqual(holder.stdout.readline(), "held\n")
        daemon.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 10 * SLOW
        while daemon.ask("/readyz")[0] == 200:
            self.assertLess(time.monotonic(), end)
        self.assertEqual(daemon.ask("/healthz")[0], 200)
        self.assertEqual(daemon.ask("/metrics")[0], 200)
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()
        self.assertEqual(daemon.process.wait(20 * SLOW), 0)
        self.assertFalse(os.path.exists(daemon.socket + ".metrics"))

    def test_port_is_one_of_the_loopback_interface(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.start("metrics_listen=127.0.0.1:%d" % port)
        conn = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        conn.request("GET", "/metrics")
        self.assertIn("sqlpool_requests_total", parse(
            conn.getresponse().read().decode()))
        conn.close()
        for wrong in ("0.0.0.0:9187", "example.org:9187", "nonsense",
                      "127.0.0.1:99999"):
            done = subprocess.run(
                [DAEMON, "-s", "/nonexistent/s", "-u", "root", "-o",
                 "metrics_listen=" + wrong, "/nonexistent/x.db"],
                capture_output=True, text=True, check=False)
            self.assertNotEqual(done.returncode, 0)

    def test_it_can_be_off_or_elsewhere(self) -> None:
        daemon = self.start("metrics_socket=off")
        self.assertFalse(os.path.exists(daemon.socket + ".metrics"))
        with tempfile.TemporaryDirectory() as directory:
            self.start("metrics_socket=%s/m" % directory)
            conn = UnixConnection(directory + "/m")
            conn.request("GET", "/healthz")
            self.assertEqual(conn.getresponse().status, 200)
            conn.close()

    def test_hostile_clients_hold_nothing(self) -> None:
        daemon = self.start("workers=1")
        path = daemon.socket + ".metrics"
        silent = [socket.socket(socket.AF_UNIX) for _ in range(60)]
        for one in silent:
            one.connect(path)
            one.settimeout(30 * SLOW)
        silent[0].sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        for i in range(1, 10):  # asks and does not read
            silent[i].sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        with socket.socket(socket.AF_UNIX) as long:
            long.settimeout(30 * SLOW)
            long.connect(path)
            try:
                long.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * (1 << 20))
                self.assertNotIn(b"200", long.recv(1000).split(b"\r\n")[0])
            except ConnectionError:
                pass
        # they are hung up on, and meanwhile all others are served
        daemon.cli("app", "SELECT 1")
        self.assertEqual(daemon.ask("/metrics")[0], 200)
        with self.assertRaises(ConnectionError):
            for _ in range(400 * SLOW):  # a byte now and then does not help
                silent[0].sendall(b"x")
                time.sleep(0.05)
        for one in silent[10:]:
            self.assertEqual(one.recv(1), b"")
        for one in silent:
            one.close()

    def test_head_has_a_length_and_no_body(self) -> None:
        daemon = self.start()
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(daemon.socket + ".metrics")
            one.sendall(b"HEAD /metrics HTTP/1.1\r\n\r\n")
            one.shutdown(socket.SHUT_WR)
            text = b"".join(iter(lambda: one.recv(65536), b""))
        head, body = text.split(b"\r\n\r\n")
        self.assertEqual(body, b"")
        self.assertRegex(head, rb"Content-Length: [1-9]\d{3}")

    def test_reply_says_that_the_connection_ends(self) -> None:
        daemon = self.start()
        for version in (b"1.0", b"1.1"):
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(daemon.socket + ".metrics")
                one.sendall(b"GET /healthz HTTP/%s\r\n"
                            b"Connection: keep-alive\r\n\r\n" % version)
                text = b"".join(iter(lambda: one.recv(65536), b""))
            self.assertEqual(re.findall(rb"\nConnection: *(.*)\r\n", text),
                             [b"close"])

    def test_client_that_is_done_with_sending_gets_all(self) -> None:
        daemon = self.start("workers=1", more=19)
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(daemon.socket + ".metrics")
            one.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            one.shutdown(socket.SHUT_WR)
            text = b"".join(iter(lambda: one.recv(65536), b""))
        head, body = text.split(b"\r\n\r\n")
        self.assertGreater(len(body), 220000)  # a socket takes 212992
        self.assertIn(b"Content-Length: %d\r\n" % len(body), head)

    def test_client_that_never_stops_sending_is_cut_off(self) -> None:
        daemon = self.start("workers=1")
        for what in (b"GET /metrics HTTP/1.1\r\n\r\n", b"x",
                     b"POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n"):
            with self.subTest(what), socket.socket(socket.AF_UNIX) as one:
                one.settimeout(30 * SLOW)
                one.connect(daemon.socket + ".metrics")
                with self.assertRaises(ConnectionError):
                    sent = 0
                    while sent < 1 << 20:  # more than sockets take
                        sent += one.send(what * 100)

    def test_oldest_of_too_many_makes_room(self) -> None:
        daemon = self.start("workers=1")
        held: list[socket.socket] = []
        for _ in range(80):
            one = socket.socket(socket.AF_UNIX)
            self.addCleanup(one.close)
            one.settimeout(30 * SLOW)
            one.connect(daemon.socket + ".metrics")
            held.append(one)
        begun = time.monotonic()
        self.assertEqual(held[0].recv(1), b"")
        if SLOW == 1:  # before its time was over
            self.assertLess(time.monotonic() - begun, 4)
        held[79].sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        self.assertIn(b"200 OK", held[79].recv(1000))

    def test_file_in_the_place_of_its_socket_is_left_alone(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory, "precious.db")
            path.write_text("of somebody else")
            user = ["-u", "root"] if os.getuid() == 0 else []
            done = subprocess.run(
                [DAEMON, "-s", directory + "/s", *user, "-o",
                 "metrics_socket=%s" % path, directory + "/x.db"],
                capture_output=True, text=True, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("precious.db exists and is not a socket",
                          done.stderr)
            self.assertEqual(path.read_text(), "of somebody else")

    def test_socket_of_a_dead_daemon_is_replaced(self) -> None:
        daemon = self.start()
        daemon.process.kill()
        daemon.process.wait()
        self.assertTrue(os.path.exists(daemon.socket + ".metrics"))
        args = [DAEMON, "-s", daemon.socket]
        if os.getuid() == 0:
            args += ["-u", "root"]
        assert daemon.process.stdout
        daemon.process.stdout.close()
        daemon.process = subprocess.Popen(
            args + [daemon.dir + "/app.db"], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        assert daemon.process.stdout
        self.assertIn("ready", daemon.process.stdout.readline())
        self.assertEqual(daemon.ask("/healthz")[0], 200)

    def test_rules_and_dashboard_name_what_there_is(self) -> None:
        daemon = self.start()
        daemon.cli("app", "SELECT 1")
        # (of errors only those that there were have a sample)
        names = set(parse(daemon.ask("/metrics")[1])) | {
            "sqlpool_errors_by_code_total"}
        rules = yaml.safe_load((TOP / "conf/sqlpoold.rules.yml").read_text())
        exprs = [rule["expr"] for group in rules["groups"]
                 for rule in group["rules"]]
        self.assertGreater(len(exprs), 5)
        board = json.loads((TOP / "conf/sqlpoold.dashboard.json").read_text())
        exprs += [target["expr"] for panel in board["panels"]
                  for target in panel["targets"]]
        exprs += [variable["query"] for variable in board["templating"]["list"]]
        for expr in exprs:
            for name in NAME.findall(expr):
                self.assertIn(name, names, expr)


if __name__ == "__main__":
    done = unittest.main(exit=False, verbosity=0).result
    print("100%%: Checks: %d, Failures: %d, Errors: %d" % (
        done.testsRun, len(done.failures), len(done.errors)))
    sys.exit(not done.wasSuccessful())
