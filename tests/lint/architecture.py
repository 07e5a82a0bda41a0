#!/usr/bin/env python3
"""Check ARCHITECTURE.md: its length, and that its table has the files of daemon/.

Each module and each .def file of daemon/ stands in the first column of a row,
by its name or by a pattern (admin_*), and each name there is of a file.
"""
import fnmatch
import pathlib
import re
import sys

PAPER = pathlib.Path("ARCHITECTURE.md")
LINES_MAX = 150
HEADING = "## Files of daemon/"


def get_modules():
    """The names that the table has to have."""
    daemon = pathlib.Path("daemon")
    code = {path.stem.removesuffix("_impl") for path in daemon.glob("*.[ch]")}
    return code | {path.name for path in daemon.glob("*.def")}


def get_names(text):
    """The names in the first column of the table."""
    table = text.partition(HEADING + "\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]*) \|", table, re.MULTILINE)
    return {name for row in rows[1:] for name in re.findall(r"[\w.*]+", row)}


def main():
    text = PAPER.read_text()
    modules, names = get_modules(), get_names(text)
    lines = text.count("\n")
    errors = []
    if lines > LINES_MAX:
        errors.append(f"{PAPER}: {lines} lines; at most {LINES_MAX}")
    for module in sorted(modules):
        if not any(fnmatch.fnmatchcase(module, name) for name in names):
            errors.append(f"{PAPER}: \"{HEADING[3:]}\" does not name {module}")
    for name in sorted(names):
        if not fnmatch.filter(modules, name):
            errors.append(f"{PAPER}: daemon/ has no {name}")
    print("\n".join(errors), end="\n" if errors else "")
    return 1 if errors else 0


sys.exit(main())
