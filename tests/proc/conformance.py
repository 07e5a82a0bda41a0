#!/usr/bin/python3
"""Talk to a live daemon as PROTOCOL.md says, and as nobody should.

  conformance.py [-v] [-k WORD] [--slow] SOCKET DATABASE

The daemon must serve DATABASE alone and may lose what is in it. One line per
case; the exit status is 1 if any failed. After each case a connection that has
nothing to do with it must still be answered.
"""

import argparse
import os
import random
import socket
import struct
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import wire  # noqa: E402

TIMEOUT_S = 10 * float(os.environ.get("CK_TIMEOUT_MULTIPLIER", "1"))
TERMINAL = ("OK", "DONE", "ERROR")
# An id no case uses.
SPARE_ID = 2**62

# Fields whose absence means this value.
DEFAULTS = {
    "columns": [], "rows": [], "changes": 0, "rowid": 0, "tx_state": 0,
    "queue_us": 0, "exec_us": 0, "decltypes": [], "params_n": 0,
    "param_names": [], "kind": 0, "statements_n": 0, "outcome": 0,
    "features": 0,
}

ENDLESS = ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c"
           " LIMIT 100000000000) SELECT count(*) FROM c")
LONG = ENDLESS.replace("100000000000", "3000000")


class Failure(Exception):
    """A case did not go as it should."""


def check(holds, text, *args):
    if not holds:
        raise Failure(text % args if args else text)


# --- Comparing ----------------------------------------------------------------

def is_default(name, v):
    return name in DEFAULTS and v == DEFAULTS[name] and \
        isinstance(v, type(DEFAULTS[name]))


def same_value(a, b):
    """As ==, but 1, 1.0 and true are three things."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same_value, a, b))
    return a == b


def compare_fields(want, got, varies, where):
    """Raise Failure at the first difference between two maps of fields."""
    for name in sorted(set(want) | set(got)):
        path = "%s.%s" % (where, name)
        a = want.get(name, DEFAULTS.get(name))
        b = got.get(name, DEFAULTS.get(name))
        if name in varies:
            check((name in want) == (name in got) or name in DEFAULTS,
                  "%s is %s", path,
                  "absent" if name in want else "there: %r" % (b,))
        elif name == "steps":
            compare_steps(a, b, varies, path)
        elif name == "error":
            check(isinstance(a, dict) and isinstance(b, dict),
                  "%s: %r instead of %r", path, b, a)
            compare_fields(a, b, varies, path)
        else:
            check(same_value(a, b), "%s: %r instead of %r", path, b, a)


def compare_steps(want, got, varies, where):
    check(isinstance(got, list) and len(want) == len(got),
          "%s: %r instead of %r", where, got, want)
    for i, (a, b) in enumerate(zip(want, got)):
        path = "%s[%d]" % (where, i)
        check((a is None) == (b is None), "%s: %r instead of %r", path, b, a)
        if a is not None:
            # what varies in the reply does not vary in a step
            compare_fields(a, b, [v for v in varies if v not in a], path)


def compare(want, got, varies):
    check(got["head"] == want["head"], "%r instead of %r", got, want)
    compare_fields(want["body"], got["body"], varies, want["head"]["type"])


# --- A connection -------------------------------------------------------------

class Connection:
    def __init__(self, path, hello=True, database=None, **fields):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(path)
        self.buffer = b""
        self.last_id = 1000
        self.hello = self.say_hello(database, fields) if hello else None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def say_hello(self, database, fields):
        head = {"type": "HELLO", "id": SPARE_ID - 1}
        if database:
            head["database"] = database
        body = dict({"version": 1, "app_name": "conformance"}, **fields)
        self.send(wire.encode({"head": head, "body": body}))
        reply = self.read()
        check(reply["head"]["type"] == "OK", "HELLO: %r", reply)
        return reply["body"]

    def send(self, data):
        self.sock.sendall(data)

    def request(self, kind, body=None, id=None, **head):
        """Send one request; gives its id."""
        if id is None:
            self.last_id += 1
            id = self.last_id
        head = dict({"type": kind, "id": id}, **head)
        self.send(wire.encode({"head": head, "body": body or {}}))
        return id

    def exec(self, sql, *params, **head):
        body = {"sql": sql}
        if params:
            body["params"] = list(params)
        return self.request("EXEC", body, **head)

    def read_bytes(self, n):
        while len(self.buffer) < n:
            chunk = self.sock.recv(1 << 16)
            if not chunk:
                raise EOFError("the daemon closed the connection")
            self.buffer += chunk
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def read_frame(self):
        prefix = self.read_bytes(5)
        check(prefix[0] == wire.MAGIC, "reply begins with %02x", prefix[0])
        return prefix + self.read_bytes(struct.unpack(">I", prefix[1:])[0])

    def read(self):
        return wire.decode(self.read_frame())

    def read_reply(self, id):
        """The next frame, which must be the terminal reply to id."""
        reply = self.read()
        check(reply["head"].get("id", 0) == id and
              reply["head"]["type"] in TERMINAL,
              "%r instead of the reply to %d", reply, id)
        return reply

    def call(self, kind, body=None, **head):
        return self.read_reply(self.request(kind, body, **head))

    def run(self, sql, *params, **head):
        """One statement that must succeed; gives the DONE's body."""
        reply = self.read_reply(self.exec(sql, *params, **head))
        check(reply["head"]["type"] == "DONE", "%s: %r", sql, reply)
        return reply["body"]

    def ping(self):
        """Also shows that nothing unasked came before the answer."""
        reply = self.call("PING")
        check(reply["head"]["type"] == "OK", "PING: %r", reply)

    def expect_error(self, reply, name, **fields):
        check(reply["head"]["type"] == "ERROR" and
              reply["body"]["name"] == name,
              "%r instead of ERROR %s", reply, name)
        check(reply["body"]["code"] == wire.ERRORS[name] and
              reply["body"]["message"] and reply["body"]["class"],
              "incomplete: %r", reply)
        for field, v in fields.items():
            check(reply["body"].get(field, DEFAULTS.get(field)) == v,
                  "%s is not %r: %r", field, v, reply)

    def expect_close(self):
        try:
            data = self.buffer or self.sock.recv(1)
        except ConnectionResetError:
            data = b""
        check(not data, "bytes instead of the end: %r", data)

    def is_quiet(self, seconds):
        """Say whether nothing arrives for so long."""
        if self.buffer:
            return False
        self.sock.settimeout(seconds)
        try:
            self.buffer = self.sock.recv(1 << 16)
            check(self.buffer, "closed")
        except socket.timeout:
            return True
        finally:
            self.sock.settimeout(TIMEOUT_S)
        return False


# --- Cases --------------------------------------------------------------------

class Cases:
    """Each case_x is a case; each cases_x gives several (name, function)."""

    def __init__(self, path, database):
        self.path = path
        self.database = database
        self.vectors = wire.load_vectors()

    def open(self, **fields):
        return Connection(self.path, **fields)

    def setup(self, *statements):
        with self.open() as c:
            for sql in statements:
                c.run(sql)

    # Vectors

    def run_conversation(self, conv):
        self.setup(*conv.get("setup", []))
        said_hello = conv.get("hello", True)
        with self.open(hello=said_hello) as c:
            due = []
            for v in conv["frames"] + [None]:
                if v is not None and v["direction"] == "reply":
                    due.append(v)
                    continue
                self.take_replies(c, due)
                due = []
                if v is not None:
                    c.send(bytes.fromhex(v["hex"]))
            if said_hello:
                c.ping()

    def take_replies(self, c, due):
        """As many replies as are due, in any order."""
        due = list(due)
        while due:
            got = c.read()
            want = next((v for v in due if v["decoded"]["head"].get("id") ==
                         got["head"].get("id")), None)
            check(want is not None, "nobody asked for %r", got)
            due.remove(want)
            compare(want["decoded"], got,
                    self.vectors["varies"] + want.get("varies", []))

    def cases_conversation(self):
        for conv in self.vectors["conversations"]:
            yield conv["name"], lambda conv=conv: self.run_conversation(conv)

    def send_fault(self, v):
        """A faulty message: an error that names the fault, then the end if
        the daemon cannot know where the next frame begins."""
        code = v["fault"]["code"]
        with self.open() as c:
            c.send(bytes.fromhex(v["hex"]))
            reply = c.read()
            c.expect_error(reply, code)
            check(reply["body"]["class"] == 6, "class of %r", reply)
            id = reply["head"].get("id", 0)
            if code.startswith("FRAME_"):
                check(id == 0, "id of %r", reply)
                c.expect_close()
            else:
                check(id in (0, 7), "id of %r", reply)
                key = v["fault"]["key"]
                check(key == "none" or
                      "field %d" % key in reply["body"]["message"],
                      "field %s is not named: %r", key, reply)
                c.ping()

    def cases_fault(self):
        for v in self.vectors["messages"]:
            if "fault" in v and v["direction"] == "request":
                yield v["name"], lambda v=v: self.send_fault(v)

    def send_message(self, v):
        """A good message gets one terminal reply with its id, whatever the
        daemon makes of it; with id 0 none."""
        id = v["decoded"]["head"]["id"]
        with self.open() as c:
            c.send(bytes.fromhex(v["hex"]))
            if id:
                head = c.read_reply(id)["head"]
                check(head.get("stream", 0) ==
                      v["decoded"]["head"].get("stream", 0),
                      "stream of %r", head)
            c.ping()

    def cases_message(self):
        for v in self.vectors["messages"]:
            if "decoded" in v and v["direction"] == "request" and \
                    "database" not in v["decoded"]["head"]:
                yield v["name"], lambda v=v: self.send_message(v)

    # Bytes that end, or trickle, or make no sense

    def cut(self, data, hello, how):
        with self.open() as witness:
            for n in range(1, len(data)):
                c = self.open(hello=hello)
                c.send(data[:n])
                if how == "shutdown":
                    c.sock.shutdown(socket.SHUT_WR)
                    c.expect_close()
                c.close()
                if n % 16 == 0:
                    witness.ping()
            witness.ping()

    def cases_cut(self):
        by_name = dict(wire.iter_frames(self.vectors))
        for name in ("hello_least", "ping", "exec_prepared", "tx_begin"):
            data = bytes.fromhex(by_name[name]["hex"])
            for how in ("close", "shutdown"):
                yield "%s_then_%s" % (name, how), \
                    lambda data=data, name=name, how=how: \
                    self.cut(data, name != "hello_least", how)
        data = bytes.fromhex(by_name["batch"]["hex"])
        yield "batch_then_close", lambda: self.cut(data, True, "close")

    def case_bytes_that_trickle_in(self):
        with self.open(hello=False) as c:
            data = wire.encode({"head": {"type": "HELLO", "id": 1},
                                "body": {"version": 1}})
            data += wire.encode({"head": {"type": "EXEC", "id": 2},
                                 "body": {"sql": "SELECT 7 AS n"}})
            for i in range(len(data)):
                c.send(data[i:i + 1])
            c.read_reply(1)
            check(c.read_reply(2)["body"]["rows"] == [[7]], "rows")

    def case_random_bytes(self):
        rng = random.Random(1)
        for _ in range(50):
            with self.open(hello=False) as c:
                data = rng.randbytes(rng.randrange(1, 400))
                c.send(bytes([data[0] if data[0] != wire.MAGIC else 0]) +
                       data[1:])
                c.expect_error(c.read(), "FRAME_MAGIC")
                c.expect_close()

    def case_random_content(self):
        """Whatever stands in a frame, it is answered or refused."""
        rng = random.Random(2)
        for _ in range(200):
            with self.open() as c:
                content = bytearray(wire.encode(
                    {"head": {"type": "EXEC", "id": 7},
                     "body": {"sql": "SELECT ?1, ?2",
                              "params": [1, {"bin hex": "00ff"}]}})[5:])
                for _ in range(rng.randrange(1, 4)):
                    content[rng.randrange(len(content))] = rng.randrange(256)
                try:
                    c.send(wire.frame(bytes(content)))
                    c.request("PING", id=8)
                    while c.read()["head"].get("id", 0) != 8:
                        pass
                except (EOFError, BrokenPipeError, ConnectionResetError):
                    pass

    def case_other_protocols(self):
        for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                     b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                     b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"\n"):
            with self.open(hello=False) as c:
                c.send(data)
                c.expect_error(c.read(), "FRAME_MAGIC")
                c.expect_close()

    def case_a_length_over_the_limit_is_refused_at_once(self):
        for hello in (True, False):
            with self.open(hello=hello) as c:
                limit = c.hello["max_frame"] if hello else 64 << 20
                c.send(struct.pack(">BI", wire.MAGIC, limit + 1))
                c.expect_error(c.read(), "FRAME_TOO_LONG")
                c.expect_close()

    def case_a_fault_ends_a_connection_with_requests_in_flight(self):
        with self.open() as c:
            c.exec("SELECT 1 AS a", id=1)
            c.exec(ENDLESS, id=2)
            c.send(b"\x00")
            # each request is answered once, before or after the fault is named
            replies = {}
            for _ in range(3):
                reply = c.read()
                replies[reply["head"].get("id", 0)] = reply
            check(sorted(replies) == [0, 1, 2], "%r", replies)
            c.expect_error(replies[0], "FRAME_MAGIC")
            c.expect_error(replies[2], "CANCELLED")
            c.expect_close()

    # HELLO

    def case_anything_before_hello_is_refused(self):
        for kind, n in wire.TYPES.items():
            if kind == "HELLO" or n >= 32:
                continue
            with self.open(hello=False) as c:
                c.request(kind, {"sql": "SELECT 1", "stmt": 1, "steps": [],
                                 "commit": True, "target": 1,
                                 "credit_bytes": 1}, id=5)
                reply = c.read()
                check(reply["head"]["id"] == 5, "%s: %r", kind, reply)
                c.expect_error(reply, "HELLO_REQUIRED")
                c.expect_close()

    def case_requests_are_pipelined_behind_hello(self):
        with self.open(hello=False) as c:
            c.request("HELLO", {"version": 1}, id=1)
            for i in range(2, 20):
                c.exec("SELECT ?1 AS a", i, id=i)
            seen = {}
            for _ in range(19):
                reply = c.read()
                seen[reply["head"]["id"]] = reply
            check(seen[1]["head"]["type"] == "OK", "%r", seen[1])
            for i in range(2, 20):
                check(seen[i]["body"]["rows"] == [[i]], "%r", seen[i])

    def case_hello_with_a_database(self):
        with self.open(database=self.database) as c:
            check(c.hello["database"] == self.database, "%r", c.hello)
            c.run("SELECT 1")

    def case_hello_bounds_are_checked(self):
        for field in ("max_frame", "window_bytes"):
            for v in (0, 65535, (64 << 20) + 1):
                with self.open(hello=False) as c:
                    reply = c.call("HELLO", {"version": 1, field: v})
                    c.expect_error(reply, "FIELD_RANGE")

    def case_decltypes_come_when_they_were_asked_for(self):
        self.setup("DROP TABLE IF EXISTS dt",
                   "CREATE TABLE dt(a INTEGER, b VARCHAR(9), c)")
        sql = "SELECT a, b, c, a + 1 AS d FROM dt"
        with self.open(features=1) as c:
            check(c.hello["features"] == 1, "%r", c.hello)
            check(c.run(sql)["decltypes"] ==
                  ["INTEGER", "VARCHAR(9)", None, None], "decltypes")
        with self.open() as c:
            check("decltypes" not in c.run(sql), "decltypes")

    def case_admin_commands_are_results(self):
        with self.open() as c:
            body = c.run("SHOW HELP", database="@admin")
            check(body["columns"] and body["rows"], "%r", body)
            reply = c.read_reply(c.exec("SHOW NOSUCH", database="@admin"))
            check(reply["head"]["type"] == "ERROR", "%r", reply)

    # Ids, order, stopping

    def case_a_duplicate_id_is_refused_and_the_first_goes_on(self):
        with self.open() as c:
            c.exec(LONG, id=5)
            c.exec("SELECT 1", id=5)
            first = c.read_reply(5)
            c.expect_error(first, "DUPLICATE_ID")
            second = c.read_reply(5)
            check(second["body"].get("rows") == [[3000000]], "%r", second)
            c.exec("SELECT 2 AS a", id=5)
            check(c.read_reply(5)["body"]["rows"] == [[2]], "used again")

    def case_a_short_read_overtakes_a_long_one(self):
        with self.open() as c:
            c.exec(LONG, id=1)
            c.exec("SELECT 1 AS a", id=2)
            check([c.read()["head"]["id"] for _ in range(2)] == [2, 1],
                  "order")

    def case_cancel_stops_a_long_read(self):
        with self.open() as c:
            c.exec(ENDLESS, id=1)
            c.request("CANCEL", {"target": 1}, id=2)
            replies = {}
            for _ in range(2):
                reply = c.read()
                replies[reply["head"]["id"]] = reply
            check(replies[2]["head"]["type"] == "OK", "%r", replies[2])
            c.expect_error(replies[1], "CANCELLED", outcome=0)
            c.exec(ENDLESS, id=3)
            c.request("CANCEL", {"target": 3}, id=0)
            c.expect_error(c.read_reply(3), "CANCELLED")
            c.ping()

    def case_a_deadline_ends_a_long_read(self):
        with self.open() as c:
            began = time.monotonic()
            reply = c.read_reply(c.exec(ENDLESS, timeout_ms=100))
            c.expect_error(reply, "DEADLINE", outcome=0)
            check(0.05 < time.monotonic() - began < TIMEOUT_S / 2, "time")
            c.ping()

    def case_reads_see_the_writes_sent_before_them(self):
        self.setup("DROP TABLE IF EXISTS ryw", "CREATE TABLE ryw(n)",
                   "INSERT INTO ryw VALUES (0)")
        with self.open() as c:
            for i in range(1, 101):
                c.exec("UPDATE ryw SET n = ?1", i, id=2 * i)
                c.exec("SELECT n FROM ryw", id=2 * i + 1)
            for _ in range(200):
                reply = c.read()
                id = reply["head"]["id"]
                check(reply["head"]["type"] == "DONE", "%r", reply)
                if id % 2:
                    check(reply["body"]["rows"][0][0] >= id // 2,
                          "read %d saw %r", id // 2, reply["body"]["rows"])

    def case_seq_never_goes_back(self):
        self.setup("DROP TABLE IF EXISTS sq", "CREATE TABLE sq(n)")
        with self.open() as a, self.open() as b:
            last = 0
            for i in range(20):
                seq = (a, b)[i % 2].run("INSERT INTO sq VALUES (?1)", i)["seq"]
                check(seq > last, "%d after %d", seq, last)
                last = seq
            check("seq" not in a.run("SELECT 1"), "a read has a seq")
            check(a.hello["epoch"] == b.hello["epoch"], "epoch")

    # Transactions

    def case_a_transaction_can_be_pipelined(self):
        self.setup("DROP TABLE IF EXISTS tp", "CREATE TABLE tp(n)")
        with self.open() as c:
            c.request("TX_BEGIN", {"tx_mode": 1}, id=1, stream=4)
            for i in range(2, 10):
                c.exec("INSERT INTO tp VALUES (?1)", i, id=i, stream=4)
            c.request("TX_END", {"commit": True}, id=10, stream=4)
            c.exec("SELECT count(*) FROM tp", id=11, stream=4)
            for i in range(1, 12):
                reply = c.read_reply(i)
                check(reply["head"]["type"] != "ERROR", "%r", reply)
            check(reply["body"]["rows"] == [[8]], "%r", reply)

    def case_a_lost_connection_rolls_back_and_frees_the_writer(self):
        self.setup("DROP TABLE IF EXISTS lost", "CREATE TABLE lost(n)")
        c = self.open()
        c.call("TX_BEGIN", {"tx_mode": 1})
        c.run("INSERT INTO lost VALUES (1)")
        with self.open() as other:
            id = other.exec("INSERT INTO lost VALUES (2)")
            check(other.is_quiet(0.2), "the writer was not held")
            c.close()
            other.read_reply(id)
            check(other.run("SELECT n FROM lost")["rows"] == [[2]], "rows")

    def case_a_statement_error_leaves_the_transaction_open(self):
        self.setup("DROP TABLE IF EXISTS se",
                   "CREATE TABLE se(n UNIQUE)")
        with self.open() as c:
            c.call("TX_BEGIN")
            c.run("INSERT INTO se VALUES (1)")
            reply = c.read_reply(c.exec("INSERT INTO se VALUES (1)"))
            c.expect_error(reply, "SQLITE_CONSTRAINT_UNIQUE", tx_state=3)
            c.run("INSERT INTO se VALUES (2)")
            check("seq" in c.call("TX_END", {"commit": True})["body"], "seq")
            check(c.run("SELECT count(*) FROM se")["rows"] == [[2]], "rows")

    def case_a_stale_snapshot_cannot_write(self):
        self.setup("DROP TABLE IF EXISTS st", "CREATE TABLE st(n)")
        with self.open() as a, self.open() as b:
            a.call("TX_BEGIN")
            a.run("SELECT * FROM st")
            b.run("INSERT INTO st VALUES (1)")
            check(a.run("SELECT * FROM st")["rows"] == [], "snapshot")
            reply = a.read_reply(a.exec("INSERT INTO st VALUES (2)"))
            a.expect_error(reply, "SQLITE_BUSY_SNAPSHOT", outcome=0)
            a.call("TX_END", {"commit": False})
            a.run("INSERT INTO st VALUES (2)")

    def case_a_fresh_snapshot_can_write(self):
        self.setup("DROP TABLE IF EXISTS fs", "CREATE TABLE fs(n)")
        with self.open() as c:
            c.call("TX_BEGIN")
            c.run("SELECT * FROM fs")
            body = c.run("INSERT INTO fs VALUES (2)")
            check(body.get("tx_state") == 3, "%r", body)
            c.call("TX_END", {"commit": True})

    def case_a_savepoint_takes_nothing_yet(self):
        self.setup("DROP TABLE IF EXISTS sp", "CREATE TABLE sp(n)")
        with self.open() as a, self.open() as b:
            a.run("SAVEPOINT s")
            b.run("INSERT INTO sp VALUES (1)")
            a.run("INSERT INTO sp VALUES (2)")
            a.run("RELEASE s")
            check(a.run("SELECT count(*) FROM sp")["rows"] == [[2]], "rows")

    def case_a_connection_is_lost_with_a_savepoint_open(self):
        with self.open() as c:
            c.run("SAVEPOINT s")
        with self.open() as c:
            c.run("SAVEPOINT s")
            c.run("SELECT 1")

    def slow_case_an_idle_transaction_expires_when_others_wait(self):
        self.setup("DROP TABLE IF EXISTS ex", "CREATE TABLE ex(n)")
        with self.open() as a, self.open() as b:
            a.call("TX_BEGIN", {"tx_mode": 1})
            a.run("INSERT INTO ex VALUES (1)")
            b.run("INSERT INTO ex VALUES (2)")
            reply = a.read_reply(a.exec("INSERT INTO ex VALUES (3)"))
            a.expect_error(reply, "TX_EXPIRED", tx_state=4)
            reply = a.call("TX_END", {"commit": True})
            a.expect_error(reply, "TX_EXPIRED", tx_state=0)
            check(a.run("SELECT n FROM ex")["rows"] == [[2]], "rows")

    # Results

    def read_result(self, c, id):
        """All of a result; what was read is granted again."""
        columns, rows, sizes = None, [], []
        while True:
            data = c.read_frame()
            reply = wire.decode(data)
            check(reply["head"]["id"] == id, "%r", reply)
            body = reply["body"]
            if columns is None:
                columns = body["columns"]
            else:
                check("columns" not in body, "columns twice")
            rows += body.get("rows", [])
            if reply["head"]["type"] != "ROWS":
                check(reply["head"]["type"] == "DONE", "%r", reply)
                return columns, rows, sizes
            sizes.append(len(data))
            c.request("CREDIT", {"target": id, "credit_bytes": len(data)},
                      id=0)

    MANY = ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c"
            " LIMIT %d) SELECT x, printf('%%.100c', 'x') AS t FROM c")

    def case_a_large_result_comes_in_chunks(self):
        with self.open() as c:
            id = c.exec(self.MANY % 20000)
            columns, rows, sizes = self.read_result(c, id)
            check(columns == ["x", "t"], "%r", columns)
            check([r[0] for r in rows] == list(range(1, 20001)), "rows")
            check(len(sizes) > 10 and max(sizes) < 128 << 10,
                  "sizes %r", sizes)
            c.ping()

    def case_a_result_waits_for_credit(self):
        window = 65536
        with self.open(window_bytes=window) as c:
            id = c.exec(self.MANY % 10000)
            sent, granted, rows, done = 0, window, [], False
            while not done:
                # all that was granted comes, and then no more
                while not done and (sent < granted or
                                    not c.is_quiet(0.3)):
                    data = c.read_frame()
                    reply = wire.decode(data)
                    rows += reply["body"].get("rows", [])
                    done = reply["head"]["type"] != "ROWS"
                    check(done or sent < granted,
                          "a frame at %d of %d bytes", sent, granted)
                    sent += 0 if done else len(data)
                if not done:
                    # the others are not stopped
                    c.ping()
                    c.request("CREDIT", {"target": id, "credit_bytes":
                                         200000}, id=0)
                    granted += 200000
            check(len(rows) == 10000, "%d rows", len(rows))

    def case_a_result_that_waits_for_credit_can_be_cancelled(self):
        with self.open(window_bytes=65536) as c:
            id = c.exec(self.MANY % 100000)
            while not c.is_quiet(0.3):
                check(c.read()["head"]["type"] == "ROWS", "type")
            c.request("CANCEL", {"target": id}, id=0)
            c.expect_error(c.read_reply(id), "CANCELLED")
            c.ping()

    def case_big_values_come_back(self):
        n = 8 << 20
        for v in ("a\u00e9" * (n // 3), {"bin hex": os.urandom(n).hex()}):
            with self.open() as c:
                _, rows, _ = self.read_result(c, c.exec("SELECT ?1 AS v", v))
                check(rows == [[v]], "%d bytes differ", n)

    def case_a_row_over_the_clients_limit(self):
        with self.open(max_frame=65536) as c:
            reply = c.read_reply(c.exec("SELECT zeroblob(100000) AS z"))
            c.expect_error(reply, "ROW_TOO_LARGE")
            reply = c.call("BATCH", {"steps": [
                {"sql": "SELECT zeroblob(40000) AS z"},
                {"sql": "SELECT zeroblob(40000) AS z"}]})
            c.expect_error(reply, "RESULT_TOO_LARGE")
            id = c.exec(self.MANY % 5000)
            while True:
                data = c.read_frame()
                check(len(data) <= 65536 + 5, "%d bytes", len(data))
                if wire.decode(data)["head"]["type"] != "ROWS":
                    break
                c.request("CREDIT", {"target": id, "credit_bytes": len(data)},
                          id=0)

    def case_an_error_may_come_after_rows(self):
        with self.open(window_bytes=32 << 20) as c:
            id = c.exec(
                "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1"
                " FROM c LIMIT 20000) SELECT printf('%.100c', 'x'),"
                " abs(CASE x WHEN 19999 THEN -9223372036854775808 ELSE x END)"
                " FROM c")
            types = []
            while not types or types[-1] == "ROWS":
                reply = c.read()
                check(reply["head"]["id"] == id, "%r", reply)
                types.append(reply["head"]["type"])
            check(types[-1] == "ERROR", "%r", reply)
            check(reply["body"]["message"] == "integer overflow", "%r", reply)
            c.ping()

    # Strangers

    def case_a_client_that_never_reads_hurts_nobody(self):
        with self.open() as deaf, self.open() as witness:
            deaf.sock.settimeout(0.5)
            frame = wire.encode({
                "head": {"type": "EXEC", "id": 1},
                "body": {"sql": "SELECT zeroblob(20000) AS z"}})
            try:
                for _ in range(20000):
                    deaf.send(frame)
            except socket.timeout:
                pass
            for _ in range(20):
                witness.ping()
                witness.run("SELECT 1")

    def case_many_clients_that_leave_at_once(self):
        clients = [self.open() for _ in range(100)]
        for c in clients:
            c.exec(ENDLESS)
        for c in clients:
            c.close()
        with self.open() as c:
            c.run("SELECT 1")


# --- Running ------------------------------------------------------------------

def list_cases(cases, slow):
    for name in dir(cases):
        if name.startswith("case_") or (slow and name.startswith("slow_case_")):
            yield name.split("case_", 1)[1], getattr(cases, name)
        elif name.startswith("cases_"):
            group = name[len("cases_"):]
            for each, function in getattr(cases, name)():
                yield "%s %s" % (group, each), function


def describe(e):
    if isinstance(e, (Failure, EOFError)):
        return str(e)
    if isinstance(e, socket.timeout):
        return "no answer in %g s" % TIMEOUT_S
    return "%s: %s" % (type(e).__name__, e)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-v", action="store_true", help="show tracebacks")
    parser.add_argument("-k", default="", metavar="WORD",
                        help="only cases whose name holds WORD")
    parser.add_argument("--slow", action="store_true",
                        help="also the cases that wait for the daemon's limits")
    parser.add_argument("socket")
    parser.add_argument("database")
    args = parser.parse_args()
    cases = Cases(args.socket, args.database)
    witness = Connection(args.socket)
    failed = passed = 0
    for name, function in list_cases(cases, args.slow):
        if args.k not in name:
            continue
        try:
            function()
            witness.ping()
        except Exception as e:  # whatever it is, the next case is run
            failed += 1
            print("FAIL %s: %s" % (name, describe(e)[:2000]), flush=True)
            if args.v:
                traceback.print_exc()
            try:
                witness.close()
                witness = Connection(args.socket)
            except (OSError, EOFError, Failure) as gone:
                print("the daemon does not answer: %s" % describe(gone))
                break
        else:
            passed += 1
            print("ok   %s" % name, flush=True)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
