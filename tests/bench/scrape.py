"""A scraper of the daemon's metrics, once a second, as Prometheus does."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator

import run

PERIOD_S = 1.0
TIMEOUT_S = 5.0


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self.path)


def scrape(path: str) -> bytes:
    """The page, from a connection of its own."""
    connection = Connection(path)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        reply = connection.getresponse()
        page = reply.read()
    if reply.status != 200 or b"sqlpool_" not in page:
        raise run.RunError("metrics: status %d, %d bytes" % (
            reply.status, len(page)))
    return page


class Scraper(threading.Thread):
    """Scrapes at once and then each second, until it is stopped."""

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self.path = path
        self.stopped = threading.Event()
        self.pages = 0
        self.failure: Exception | None = None

    def run(self) -> None:
        due = time.monotonic()
        try:
            while not self.stopped.wait(max(0.0, due - time.monotonic())):
                scrape(self.path)
                self.pages += 1
                due += PERIOD_S
        except (OSError, http.client.HTTPException, run.RunError) as e:
            self.failure = e

    def finish(self) -> None:
        self.stopped.set()
        self.join()
        if self.failure:
            raise run.RunError("the scraper: %s" % self.failure)


@contextlib.contextmanager
def each_second(path: str) -> Iterator[None]:
    """It has to have kept up, and nothing may have gone wrong."""
    scraper = Scraper(path)
    began = time.monotonic()
    scraper.start()
    try:
        yield
        seconds = time.monotonic() - began
    finally:
        scraper.stopped.set()
    scraper.finish()
    if scraper.pages < int(seconds / PERIOD_S):
        raise run.RunError("the scraper got %d pages in %.1f s" % (
            scraper.pages, seconds))
