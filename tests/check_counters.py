#!/usr/bin/python3
"""No counter or gauge that nobody checks: each row of daemon/stats.def is compared, by
some test, with a count of the test's own."""

import pathlib
import re
import sys
import unittest

TOP = pathlib.Path(__file__).resolve().parent.parent
ROW = re.compile(r"^(STAT|DB_STAT|HIST|GAUGE|DB_GAUGE)\((\w+),", re.M)
# How a test says so: an assertion about the inside, or about what SHOW says.
SAYS = {
    "STAT": (r"ck_assert_\w*int_\w+\(\s*stats_get\(STAT_{0}\)",
             r"ck_assert_\w*int_\w+\(\s*live_get_stat\(&live, \"{0}\"\)",
             r"\b(expect|wait_for)\(\s*\"{0}\""),
    "DB_STAT": (r"ck_assert_\w*int_\w+\([^;]*DB_STAT_{0}\]",
                r"\bexpect_db\(\s*\"{0}\""),
    "HIST": (r"\bexpect_hist\(\s*\"{0}\"",),
    "GAUGE": (r"\bexpect_(gauge|between|age)\(\s*\"{0}\"",),
    "DB_GAUGE": (r"\bexpect_(gauge|between|age)\(\s*\"{0}\"",),
}


def read_tests() -> str:
    return "\n".join(path.read_text() for path in TOP.glob("tests/**/*.c"))


class Counters(unittest.TestCase):
    def test_each_counter_has_a_test(self) -> None:
        rows = ROW.findall((TOP / "daemon/stats.def").read_text())
        self.assertGreater(len(rows), 30)
        tests = read_tests()
        forgotten = [name for kind, name in rows if not any(
            re.search(says.format(name), tests) for says in SAYS[kind])]
        self.assertEqual(forgotten, [], "no test compares these with a count of "
                         "its own; tests/proc/check_counters.c is a place")


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=0).result
    print(f"100%: Checks: {result.testsRun}, Failures: "
          f"{len(result.failures)}, Errors: {len(result.errors)}")
    sys.exit(not result.wasSuccessful())
