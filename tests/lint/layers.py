#!/usr/bin/env python3
"""Check the includes: layers, the own header first, one door per dependency.

A file includes only what stands to its left in the order below, and its own
header first. Files of one directory that is a layer as a whole (proto, conf,
client) include each other freely. Prints file:line for each offence.
"""
import pathlib
import re
import sys

# The daemon's modules from left to right; proto and conf stand before them.
DAEMON = """
    clock log tick tally stats rates beat notify runas files locks sockfile listen
    tx request turns deadlines mailbox crew answer access
    budget trickle pragma guard functions dbconn dbconn_setup dbcopy upkeep bind setting stmt stmt_run wal
    slow exec exec_batch control
    dbfile hot reader readers snapshots health keeper writer outside asks gate chores group script lease
    watch backup db dbrest dbs dbs_conf dbs_care room session
    steps router
    again retire out client client_pieces client_prepared
    slice hots collect local road road_wait road_home ends
    gauges metrics
    admin_words admin admin_about admin_dbs admin_clients admin_stats admin_acts
    admin_costs admin_room admin_set admin_backup
    dispatch
    dump worker
    exporter server server_ends server_care
    main
""".split()

# What a directory may include besides itself, and, for client/cli, a program
# that stands outside of the library, how.
DIRS = {
    "proto": [],
    "conf": ["proto"],
    "daemon": ["proto", "conf"],
    "client": ["proto"],
    "client/cli": [],
    "client/bench": [],
    "client/adapters": [],
    "client/examples": [],
}
# The one header that everybody may include.
PUBLIC = "client/sqlpool.h"

# header: the files that may include it
DOORS = {
    r"sqlite3\.h": r"daemon/(bind|budget|dbconn|dbconn_impl|dbconn_setup|dbcopy|upkeep|functions|guard|setting|slow|stmt|stmt_impl|stmt_run|trickle|wal)\.[ch]|client/cli/.*|tests/.*",
    r"msgpack(/.*)?\.h": r"proto/.*|tests/.*",
    r"event2/.*": r"daemon/(worker|client|server|exporter|server_ends|server_care)\.[ch]|client/adapters/.*"
    r"|client/examples/.*|tests/.*",
    r"confuse\.h": r"conf/file\.c",
    r"readline/.*": r"client/cli/.*",
}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
errors = []


def resolve(path, name):
    """The path from the top of a header of ours, or None."""
    for base in (pathlib.Path("."), path.parent, pathlib.Path("client")):
        if (base / name).is_file():
            return (base / name).as_posix()
    return None


def position(module, where):
    module = module.removesuffix("_impl")  # shared by the files of a module
    if module not in DAEMON:
        errors.append(f"{where}: daemon/{module} is not in the order of "
                      "tests/lint/layers.py: give it a place")
        return len(DAEMON)
    return DAEMON.index(module)


def check_ours(path, target, where):
    if target == PUBLIC:
        return
    mine, theirs = path.parent.as_posix(), str(pathlib.Path(target).parent)
    if mine != theirs:
        if theirs not in DIRS[mine]:
            errors.append(f"{where}: {mine}/ may not include {target}")
        return
    if mine != "daemon" or target.endswith(".def"):
        return
    other = pathlib.Path(target).stem
    if other == path.stem + "_impl":
        return
    if position(other, where) > position(path.stem, where):
        errors.append(f"{where}: {path.stem} stands to the left of {other} "
                      "and may not include it")


def check(path):
    own = path.with_suffix(".h").as_posix() if path.suffix == ".c" else None
    if own and not pathlib.Path(own).is_file():
        own = None
    first = True
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        name, where = match.group(2), f"{path}:{number}"
        target = resolve(path, name)
        if first and own and target != own:
            errors.append(f"{where}: the first include must be {own}")
        first = False
        for header, may in DOORS.items():
            if re.fullmatch(header, name) and not re.fullmatch(may, str(path)):
                errors.append(f"{where}: {name} may be included only by {may}")
        if target and path.parent.as_posix() in DIRS:
            check_ours(path, target, where)


def main():
    for top in ("proto", "conf", "daemon", "client", "tests"):
        for path in sorted(pathlib.Path(top).rglob("*.[ch]")):
            check(path)
    print("\n".join(errors), end="\n" if errors else "")
    return 1 if errors else 0


sys.exit(main())
