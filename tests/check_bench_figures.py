#!/usr/bin/python3
"""The benchmark's own arithmetic: from runs to figures, and how they are
printed. What it measures is not tested here."""

import json
import math
import os
import re
import shutil
import socket
import sys
import tempfile
import threading
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(TOP, "tests", "bench"))

import cells  # noqa: E402  the path comes first
import figures  # noqa: E402
import machine  # noqa: E402
import place  # noqa: E402
import run  # noqa: E402
import scaling  # noqa: E402
import scrape  # noqa: E402
import side  # noqa: E402
import special  # noqa: E402
import table  # noqa: E402


def made(**fields):
    """What a run gives, as far as figures ask for it."""
    return {"per_s": 1.0, "latency_us": {}, **fields}


def find(figure_id):
    return figures.choose(figure_id)[0]


class Arithmetic(unittest.TestCase):
    def test_ratio_of_nothing(self):
        self.assertEqual(figures.ratio(6, 3), 2)
        self.assertEqual(figures.ratio(0, 3), 0)
        self.assertEqual(figures.ratio(6, 0), math.inf)
        self.assertTrue(math.isnan(figures.ratio(0, 0)))

    def test_target_is_kept_at_its_bound(self):
        self.assertTrue(figures.reaches("≥", 5, 5))
        self.assertFalse(figures.reaches("≥", 5, 4.999))
        self.assertTrue(figures.reaches("≤", 5, 5))
        self.assertFalse(figures.reaches("≤", 5, 5.001))
        for op in "≥≤":
            self.assertFalse(figures.reaches(op, 5, math.nan))

    def test_summary_is_median_and_ends(self):
        self.assertEqual(figures.summarize([3, 9, 1]), (3, (1, 9)))
        self.assertEqual(figures.summarize([4, 2]), (3, (2, 4)))
        self.assertEqual(figures.summarize([7]), (7, (7, 7)))


class Formulas(unittest.TestCase):
    def check(self, figure_id, cells, value):
        figure = find(figure_id)
        self.assertEqual(sorted(cells), sorted(set(figure.cells)))
        self.assertAlmostEqual(figure.formula(cells), value)

    def test_rate_ratio_is_ours_over_theirs(self):
        self.check("W1", {"write/sqlpoold/32x1": made(per_s=30),
                          "write/direct/32x1": made(per_s=5)}, 6)

    def test_latencies(self):
        ours = made(latency_us={"max": 10, "p99.9": 6, "p50": 300})
        theirs = made(latency_us={"max": 2000, "p99.9": 300, "p50": 250})
        both = {"write/sqlpoold/32x1": ours, "write/direct/32x1": theirs}
        self.check("W4", both, 0.005)
        self.check("W5", both, 0.02)
        self.check("W8", {"write/sqlpoold/1x1": ours,
                          "write/direct/1x1": theirs}, 50)

    def test_most_unequal_is_the_larger(self):
        self.check("W6", {"write/sqlpoold/32x1": made(busiest_to_least=1.1),
                          "write/sqlpoold/256x1": made(busiest_to_least=1.5)},
                   1.5)

    def test_lone_read_is_over_the_sum(self):
        self.check("R5", {
            "read/sqlpoold/1x1": made(latency_us={"p50": 20}),
            "read/echo-block/1x1": made(latency_us={"p50": 30}),
            "read/inproc/1x1": made(latency_us={"mean": 10})}, 0.5)

    def test_units(self):
        self.check("R9", {"large/sqlpoold/1x1": made(growth_bytes=3 << 20)}, 3)
        self.check("R10", {"idle/sqlpoold/10000": {"client_bytes": 5120}}, 5)
        self.check("R12", {"first/sqlpoold/1000": {"to_later": 1.5}}, 1.5)

    def test_every_formula_takes_what_its_cells_give(self):
        everything = made(
            latency_us={"p50": 2, "p99": 3, "p99.9": 4, "max": 5, "mean": 2},
            busiest_to_least=1, growth_bytes=1, client_bytes=1, cpu_percent=1,
            to_limit=1, to_later=1, to_msgpack=1, cpu_us=1, idle_bytes=1)
        for f in figures.FIGURES:
            value = f.formula({c: everything for c in f.cells})
            self.assertTrue(math.isfinite(value), f.id)

    def test_ids_are_those_of_the_issue(self):
        self.assertEqual(
            " ".join(f.id for f in figures.FIGURES),
            "W1 W2 W3 W4 W5 W6 W7 W8 R1 R2 R3 R4 R5 R6 R7 R8 R9 R10 R11 R12 "
            "K1 K2 L1 L2 L3 L4 L5 A1")


class Judging(unittest.TestCase):
    keys = ["id", "ok", "spread", "target", "value", "what"]

    def judge(self, pairs, failed=None):
        rounds = [{"write/sqlpoold/32x1": made(per_s=a),
                   "write/direct/32x1": made(per_s=b)} for a, b in pairs]
        return figures.judge(find("W1"), rounds, failed or {})

    def test_ratios_are_formed_in_each_round(self):
        line = self.judge([(10, 1), (40, 8), (60, 2)])
        self.assertEqual(line["value"], 10)  # not 40/2
        self.assertEqual(line["spread"], [5, 30])
        self.assertIs(line["ok"], True)
        self.assertEqual(sorted(line), self.keys)
        self.assertEqual(line["target"], "≥ 5")

    def test_median_decides(self):
        self.assertIs(self.judge([(4, 1), (4, 1), (99, 1)])["ok"], False)

    def check_none(self, line, why):
        self.assertEqual((line["value"], line["spread"], line["ok"]),
                         (None, None, False))
        self.assertEqual(sorted(line), sorted([*self.keys, "why"]))
        self.assertIn(why, line["why"])

    def test_no_figure_from_a_run_with_errors(self):
        # also when other rounds went well
        line = self.judge([(10, 1), (10, 1)],
                          {"write/direct/32x1": "database is locked"})
        self.check_none(line, "write/direct/32x1: database is locked")

    def test_no_figure_without_rounds(self):
        self.check_none(self.judge([]), "not measured")

    def test_round_without_one_of_the_cells_does_not_count(self):
        line = figures.judge(find("W1"), [
            {"write/sqlpoold/32x1": made(per_s=1)}], {})
        self.check_none(line, "not measured")

    def test_no_figure_over_nothing(self):
        self.check_none(self.judge([(10, 0), (10, 1)]), "not a number")

    def test_lines_are_json(self):
        lines = [figures.judge(f, [], {}) for f in figures.FIGURES]
        self.assertEqual(json.loads(json.dumps(lines, allow_nan=False)), lines)


class Choosing(unittest.TestCase):
    def test_all_or_some_in_the_order_asked(self):
        self.assertEqual(len(figures.choose(None)), 28)
        self.assertEqual([f.id for f in figures.choose("r3, W1")],
                         ["R3", "W1"])

    def test_unknown_is_refused(self):
        with self.assertRaisesRegex(ValueError, "no figure W9; there are W1"):
            figures.choose("W1,W9")


class Printing(unittest.TestCase):
    def test_three_digits(self):
        for value, text in ((0, "0.00"), (0.01234, "0.0123"), (1.234, "1.23"),
                            (12.34, "12.3"), (123.4, "123"), (-55.5, "-55.5"),
                            (1234567, "1,234,567"), (None, "-"),
                            (math.inf, "inf"), (0.000001, "0.00000")):
            self.assertEqual(table.number(value), text)

    def test_times_have_units(self):
        for value, text in ((7.1, "7.10 µs"), (999.4, "999 µs"),
                            (999.6, "1.00 ms"), (54321, "54.3 ms"),
                            (2.5e6, "2.50 s"), (1e9, "1,000 s"), (None, "-")):
            self.assertEqual(table.micros(value), text)

    def test_columns_line_up(self):
        self.assertEqual(table.align([["a", "bb"], ["ccc", "d"]]),
                         "a    bb\nccc   d")

    def test_table_has_a_line_for_each_and_says_why(self):
        text = table.figures([figures.judge(f, [], {})
                              for f in figures.FIGURES])
        self.assertEqual(len(re.findall(r"^\w+ +.* NO$", text, re.M)), 28)
        self.assertIn("A1 has no figure: not measured", text)


class Cells(unittest.TestCase):
    def test_each_is_in_one_group(self):
        names = cells.all_cells()
        self.assertEqual(len(names), len(set(names)))

    def test_figures_are_formed_from_cells_of_one_group(self):
        for f in figures.FIGURES:
            groups = cells.choose(f.cells)
            self.assertEqual(len(groups), 1, f.id)
            found = [c for g in groups for c in g.cells]
            self.assertEqual(sorted(found), sorted(set(f.cells)), f.id)

    def test_each_can_be_measured(self):
        for cell in cells.all_cells():
            kind = cell.split("/")[0]
            if cell in special.CELLS or kind == "large":
                continue
            _, who, clients, depth = place.parse_name(cell)
            peer = place.WHO[who]
            self.assertIn("read" if kind == "tool" else kind, peer.server)
            self.assertLessEqual(clients * depth, 512)

    def test_each_is_shown_or_used(self):
        used = {c for f in figures.FIGURES for c in f.cells}
        used |= {c for case in side.CASES for c in (case.ours, case.theirs)}
        used |= {c for pair in side.TOOLS for c in pair}
        for cell in set(cells.all_cells()) - used:
            kind, who, _, _ = place.parse_name(cell)
            self.assertIn(kind, side.KINDS)
            self.assertIn(who, side.NAMES)

    def test_cases_and_tools_are_measured(self):
        names = cells.all_cells()
        for case in side.CASES:
            self.assertIn(case.ours, names)
            self.assertIn(case.theirs, names)
        for pair in side.TOOLS:
            self.assertTrue(set(pair) <= set(names))

    def test_generators_are_told_the_same(self):
        pool = place.tell(place.WHO["sqlpoold"], "read", 32, 16)
        self.assertEqual(pool, "--json -q -m read -c 32 -j 2 -d 16".split())
        for who in ("echo", "redis", "postgres", "bare"):
            self.assertEqual(place.tell(place.WHO[who], "read", 32, 16), pool)
        self.assertEqual(
            place.tell(place.WHO["direct-each"], "normal", 32, 1),
            "--json -q -m write -c 32 -o connect=each"
            " -o synchronous=normal".split())
        self.assertEqual(
            place.tell(place.WHO["sqlpoold"], "write", 256, 1),
            "--json -q -m write -c 256 -j 32".split())

    def test_failed_cell_is_not_tried_again(self):
        tried = []

        def measure(_place, cell, _span):
            tried.append(cell)
            if cell == "b":
                raise run.RunError("no")
            return {"per_s": 1}

        group = cells.Group("x", 3, place.Span(1, 0), ("a", "b"))
        failed = {}
        real, cells.measure = cells.measure, measure
        try:
            rounds = cells.run_group(None, group, failed)
        finally:
            cells.measure = real
        self.assertEqual(tried, ["a", "b", "a", "a"])
        self.assertEqual((rounds, failed), ([{"a": {"per_s": 1}}] * 3,
                                            {"b": "no"}))


class Side(unittest.TestCase):
    def rounds(self, cell, *runs):
        return [{cell: r} for r in runs]

    def run_of(self, per_s, p50, worst, **more):
        return {"per_s": per_s, "busiest_to_least": 1.5,
                "latency_us": {"mean": p50, "p50": p50, "p99": p50,
                               "p99.9": p50, "max": worst}, **more}

    def test_summary_is_medians_the_worst_and_all_errors(self):
        got = side.summarize(self.rounds(
            "c", self.run_of(10, 5, 70, errors=2), self.run_of(30, 4, 90),
            self.run_of(20, 9, 80, errors=1)), "c")
        self.assertEqual((got["per_s"], got["p50"], got["max"],
                          got["errors"], got["unequal"]),
                         (20, 5, 90, 3, 1.5))
        self.assertIsNone(side.summarize([{}], "c"))

    def test_locked_and_starved_are_said(self):
        got = side.tables(self.rounds(
            "write/direct/32x1",
            self.run_of(10, 5, 70, errors=2, busiest_to_least=None)))
        self.assertIn('(2 times "database is locked")', got)
        self.assertIn("some had none", got)

    def test_losses_are_factors_above_one_worst_first(self):
        rounds = [{
            "read/sqlpoold/1x1": self.run_of(1, 40, 1),
            "read/inproc/1x1": self.run_of(1, 4, 1),
            "large/sqlpoold/1x1": {"per_s": 2},
            "large/inproc/1x1": {"per_s": 40},
            "write/sqlpoold/1x1": self.run_of(1, 40, 1),
            "write/direct/1x1": self.run_of(1, 80, 1)}]
        text = side.losses(rounds)
        self.assertEqual(re.findall(r"^(\S+) times slower: (.*) \(", text, re.M),
                         [("20.0", "a result of 1,000,000 rows, rate"),
                          ("10.0", "a lone client's point read, p50")])

    def test_tools_agree_or_it_is_said(self):
        ours, theirs = side.TOOLS[0]
        for rate, words in ((100, "they agree"), (79, "DO NOT AGREE"),
                            (121, "DO NOT AGREE")):
            lines = side.agreement([{ours: {"per_s": rate},
                                     theirs: {"per_s": 100}}])
            self.assertEqual(len(lines), 1)
            self.assertIn(words, lines[0])


class Scaling(unittest.TestCase):
    def test_growth_is_called_by_its_name(self):
        for far, word in ((100, "flat"), (125, "flat"), (126, "grows"),
                          (81, "flat"), (79, "falls")):
            self.assertEqual(scaling.judge(100, far), (far / 100, word))

    def test_clients_are_divided_evenly(self):
        self.assertEqual(scaling.share_out(100, 3), [34, 33, 33])
        self.assertEqual(sum(scaling.share_out(100, 64)), 100)

    def test_middle_is_of_each_by_itself(self):
        p = scaling.Point
        self.assertEqual(scaling.middle([p(1, 9, 5), p(2, 7, 6), p(3, 8, 4)]),
                         p(2, 8, 5))

    def test_lines_without_cost_are_not_judged(self):
        p = scaling.Point
        rows = scaling.growth_rows(scaling.SERIES[0], {
            "reads": {1: p(1, 1, 8.0), 9: p(1, 1, 2.0)},
            "others": {1: p(1, 1), 9: p(1, 1)}})
        self.assertEqual(rows, [["Clients", "reads", "1 to 9", "8.00 µs",
                                 "2.00 µs", "0.250", "falls"]])


class Runs(unittest.TestCase):
    def test_result_is_its_json(self):
        self.assertEqual(run.load(["/bin/echo", '{"ops": 3}']), {"ops": 3})

    def test_failure_has_the_programs_words(self):
        for argv, words in (
                (["/bin/sh", "-c", "echo '{}'; echo why >&2; exit 1"],
                 "sh: why"),
                (["/bin/sh", "-c", "echo 'x: Error: it'; echo 'x: Error: it' "
                  ">&2; echo 'Use --help' >&2; exit 2"], "sh: it$"),
                (["/bin/sh", "-c", "exit 3"], "sh: ended with status 3"),
                (["/bin/echo", "text"], "echo printed no JSON"),
                (["/bin/echo", '{"ops": 0}'], "nothing ended"),
                (["/nowhere/x"], "/nowhere/x: No such file")):
            with self.assertRaisesRegex(run.RunError, words):
                run.load(argv)

    def test_late_program_is_ended(self):
        with self.assertRaisesRegex(run.RunError, "not done after 0.1 s"):
            run.load(["/bin/sleep", "60"], timeout_s=0.1)
        self.assertEqual(run.find_children(), [])

    def test_orphans_are_ended(self):
        run.adopt_orphans()
        # its children outlive it and ignore what is polite
        run.output(["/bin/sh", "-c", "trap '' TERM; "
                    "(sleep 60; sleep 60) >/dev/null 2>&1 & "
                    "sleep 61 >/dev/null 2>&1 &"])
        self.assertEqual(len(run.find_children()), 2)
        run.end_all()
        self.assertEqual(run.find_children(), [])


class Scraping(unittest.TestCase):
    """Against a server whose answers are given, one for each connection."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="sqlpool-scrape.")
        self.addCleanup(shutil.rmtree, self.dir)
        self.path = self.dir + "/s.metrics"
        self.listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listener.close)
        self.listener.bind(self.path)
        self.listener.listen()
        self.answered = threading.Semaphore(0)

    def answer(self, *replies):
        def serve():
            for reply in replies:
                with self.listener.accept()[0] as one:
                    one.recv(4096)
                    one.sendall(reply)
                self.answered.release()
        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join)

    def scrape(self, pages):
        with scrape.each_second(self.path):
            for _ in range(pages):
                self.assertTrue(self.answered.acquire(timeout=20))

    def test_page_after_page(self):
        page = b"HTTP/1.1 200 OK\r\n\r\nsqlpool_up 1\n"
        self.answer(page, page)
        self.scrape(2)

    def test_what_is_no_page_is_an_error(self):
        replies = (b"HTTP/1.1 503 No\r\n\r\nsqlpool_up 1\n",
                   b"HTTP/1.1 200 OK\r\n\r\n", b"")
        self.answer(*replies)
        for _ in replies:
            with self.assertRaisesRegex(run.RunError, "the scraper: "):
                self.scrape(1)

    def test_no_answer_in_time_is_an_error(self):
        self.addCleanup(setattr, scrape, "TIMEOUT_S", scrape.TIMEOUT_S)
        scrape.TIMEOUT_S = 0.2  # the kernel accepts, nobody reads
        with self.assertRaisesRegex(run.RunError, "the scraper: timed out"):
            with scrape.each_second(self.path):
                with self.listener.accept()[0] as one:
                    while one.recv(4096):
                        pass


class Machine(unittest.TestCase):
    def test_filesystem_is_the_innermost(self):
        self.assertIn("proc at /proc (", machine.find_filesystem("/proc/self"))

    def test_missing_program_is_named(self):
        self.assertEqual(machine.first_line(["/nowhere/x"]), "not installed")
        self.assertEqual(machine.short_version("Redis server v=7.0.15 sha=0"),
                         "7.0.15")


if __name__ == "__main__":
    done = unittest.main(exit=False).result
    print("100%%: Checks: %d, Failures: %d, Errors: %d" % (
        done.testsRun, len(done.failures), len(done.errors)))
    sys.exit(not done.wasSuccessful())
