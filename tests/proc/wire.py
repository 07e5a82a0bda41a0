#!/usr/bin/python3
"""The wire in Python: written from PROTOCOL.md, shares no code with proto/*.c.

As a program:
  wire.py fill      write the hex of proto/vectors.json anew from the decoded forms
  wire.py examples  write the examples of proto/PROTOCOL.md anew from the vectors
  wire.py show HEX  annotate one frame

The decoded form of a message is {"head": {...}, "body": {...}} with the names
of messages.def; values are JSON's own, and {"bin hex": ...}, {"text hex": ...},
{"real hex": ...} for a BLOB, for TEXT that is not UTF-8, and for a REAL that
JSON cannot write.
"""

import json
import math
import os
import re
import struct
import sys

import msgpack

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
VECTORS = os.path.join(ROOT, "proto", "vectors.json")
PAGE = os.path.join(ROOT, "proto", "PROTOCOL.md")

MAGIC = 0xCE
EXT_TEXT = 1


def read_def(name, pattern):
    with open(os.path.join(ROOT, "proto", name), encoding="utf-8") as f:
        return re.findall(pattern, f.read(), re.M)


def read_fields(macro):
    rows = read_def("messages.def",
                    r"^%s\((\w+),\s*(\d+),\s*(\w)\)" % macro)
    return {name: (int(key), kind) for name, key, kind in rows}


TYPES = {name: int(n) for name, n in
         read_def("messages.def", r"^RE(?:QUEST|PLY)\((\w+),\s*(\d+)\)")}
HEAD = read_fields("HEAD")
ASK = read_fields("ASK")
TELL = read_fields("TELL")
ERRORS = {name: int(n) for name, n in
          read_def("errors.def", r"^(?:ERR|SQL)\((\w+),\s*(\d+)")}
TYPE_NAMES = {n: name for name, n in TYPES.items()}


# --- Values -------------------------------------------------------------------

def value_to_json(v):
    if isinstance(v, bytes):
        return {"bin hex": v.hex()}
    if isinstance(v, msgpack.ExtType):
        if v.code != EXT_TEXT:
            raise ValueError("ext type %d" % v.code)
        return {"text hex": v.data.hex()}
    if isinstance(v, float) and not math.isfinite(v):
        return {"real hex": struct.pack(">d", v).hex()}
    if isinstance(v, list):
        return [value_to_json(x) for x in v]
    if isinstance(v, dict):
        return {k: value_to_json(x) for k, x in v.items()}
    return v


def value_from_json(v):
    if isinstance(v, dict) and len(v) == 1:
        (tag, text), = v.items()
        if tag == "bin hex":
            return bytes.fromhex(text)
        if tag == "text hex":
            return msgpack.ExtType(EXT_TEXT, bytes.fromhex(text))
        if tag == "real hex":
            return struct.unpack(">d", bytes.fromhex(text))[0]
    if isinstance(v, dict):
        return {k: value_from_json(x) for k, x in v.items()}
    if isinstance(v, list):
        return [value_from_json(x) for x in v]
    return v


# --- Messages -----------------------------------------------------------------

def fields_from_json(form, table):
    """Names become keys; steps and error hold maps of the same table."""
    out = {}
    for name, v in form.items():
        key = table[name][0] if name in table else int(name)
        if name == "steps":
            v = [x if x is None else fields_from_json(x, table) for x in v]
        elif name == "error":
            v = fields_from_json(v, table)
        elif name == "type" and isinstance(v, str):
            v = TYPES[v]
        else:
            v = value_from_json(v)
        out[key] = v
    return out


def fields_to_json(fields, table):
    names = {key: name for name, (key, _) in table.items()}
    out = {}
    for key, v in fields.items():
        name = names.get(key)
        if name is None:
            continue  # not ours to know: ignored
        if name == "steps":
            v = [x if x is None else fields_to_json(x, table) for x in v]
        elif name == "error":
            v = fields_to_json(v, table)
        elif name == "type":
            v = TYPE_NAMES.get(v, v)
        else:
            v = value_to_json(v)
        out[name] = v
    return out


def encode(form, direction="request"):
    """Decoded form to the bytes of a frame."""
    table = ASK if direction == "request" else TELL
    content = b"".join(
        msgpack.packb(m, use_bin_type=True) for m in (
            fields_from_json(form["head"], HEAD),
            fields_from_json(form["body"], table)))
    return frame(content)


def frame(content):
    return struct.pack(">BI", MAGIC, len(content)) + content


def decode(data, direction="reply"):
    """The bytes of one whole frame to the decoded form."""
    magic, n = struct.unpack(">BI", data[:5])
    if magic != MAGIC or n != len(data) - 5:
        raise ValueError("not one whole frame")
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False,
                                max_buffer_size=1 << 27)
    unpacker.feed(data[5:])
    head, body = unpacker.unpack(), unpacker.unpack()
    if unpacker.tell() != n:
        raise ValueError("bytes after the body")
    table = ASK if direction == "request" else TELL
    return {"head": fields_to_json(head, HEAD),
            "body": fields_to_json(body, table)}


# --- Vectors ------------------------------------------------------------------

def load_vectors():
    with open(VECTORS, encoding="utf-8") as f:
        return json.load(f)


def iter_frames(vectors):
    """Every frame of the file, the conversations' too."""
    for v in vectors["messages"]:
        yield v["name"], v
    for c in vectors["conversations"]:
        for i, v in enumerate(c["frames"]):
            yield "%s/%d" % (c["name"], i), v


def dump_entry(entry, indent):
    pad = " " * indent
    rows = []
    for key, v in entry.items():
        if key == "frames":
            text = "[\n" + ",\n".join(
                dump_entry(x, indent + 2) for x in v) + "\n" + pad + " ]"
        else:
            text = json.dumps(v, ensure_ascii=True)
        rows.append("%s: %s" % (json.dumps(key), text))
    return pad + "{" + (",\n" + pad + " ").join(rows) + "}"


def save_vectors(vectors):
    parts = []
    for key, v in vectors.items():
        if key in ("messages", "conversations"):
            text = "[\n" + ",\n".join(dump_entry(x, 1) for x in v) + "\n]"
        else:
            text = json.dumps(v)
        parts.append("%s: %s" % (json.dumps(key), text))
    with open(VECTORS, "w", encoding="utf-8") as f:
        f.write("{\n" + ",\n".join(parts) + "\n}\n")


def fill():
    vectors = load_vectors()
    for _, v in iter_frames(vectors):
        if "decoded" in v and v.get("encode", True):
            v["hex"] = encode(v["decoded"], v["direction"]).hex()
    save_vectors(vectors)


# --- Annotated hex ------------------------------------------------------------

class Annotator:
    """One line per token; the tables give the names of keys."""

    def __init__(self, data, direction):
        self.data = data
        self.at = 0
        self.lines = []
        self.table = ASK if direction == "request" else TELL

    def add(self, start, depth, text):
        raw = self.data[start:self.at]
        rows = [raw[i:i + 16].hex(" ") for i in range(0, len(raw), 16)]
        note = "  " * depth + text
        self.lines.append(("%-48s  %s" % (rows[0], note)).rstrip())
        self.lines += rows[1:]

    def head(self):
        """Read a token's head; gives (kind, count or value)."""
        b = self.data[self.at]
        for low, high, kind in ((0x80, 0x8F, "map"), (0x90, 0x9F, "array")):
            if low <= b <= high:
                self.at += 1
                return kind, b & 0x0F
        wide = {0xDC: ("array", 2), 0xDD: ("array", 4),
                0xDE: ("map", 2), 0xDF: ("map", 4)}
        if b in wide:
            kind, n = wide[b]
            count = int.from_bytes(self.data[self.at + 1:self.at + 1 + n],
                                   "big")
            self.at += 1 + n
            return kind, count
        unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
        unpacker.feed(self.data[self.at:])
        v = unpacker.unpack()
        self.at += unpacker.tell()
        return "value", v

    @staticmethod
    def words(name, v):
        if name == "type":
            return TYPE_NAMES.get(v, "?")
        if v is None:
            return "NULL" if name is None else "nil"
        if isinstance(v, bool):
            return "true" if v else "false"
        if isinstance(v, bytes):
            return "BLOB of %d bytes" % len(v)
        if isinstance(v, msgpack.ExtType):
            return "TEXT that is not UTF-8, %d bytes" % len(v.data)
        if isinstance(v, str):
            return json.dumps(v)
        return str(v)

    def value(self, start, depth, name):
        """The value of a field (name), or an element (None)."""
        kind, v = self.head()
        label = name + ": " if name else ""
        if kind == "value":
            self.add(start, depth, label + self.words(name, v))
            return
        what = "array of %d" if kind == "array" else "map of %d"
        self.add(start, depth, label + what % v)
        for _ in range(v):
            if kind == "array":
                self.element(depth + 1, name)
            else:
                self.pair(depth + 1, self.table if name == "error" else None)

    def element(self, depth, name):
        start = self.at
        if name != "steps" or self.data[self.at] == 0xC0:
            self.value(start, depth, None)
            return
        _, n = self.head()
        self.add(start, depth, "step: %d field%s" %
                 (n, "" if n == 1 else "s"))
        for _ in range(n):
            self.pair(depth + 1, self.table)

    def pair(self, depth, table):
        start = self.at
        _, key = self.head()
        if table is None:
            name = json.dumps(key)
        else:
            name = next((n for n, (k, _) in table.items() if k == key),
                        "(field %s)" % key)
        self.value(start, depth, name)

    def run(self):
        self.at = 5
        self.add(0, 0, "frame: %d bytes follow" %
                 int.from_bytes(self.data[1:5], "big"))
        for what, table in (("head", HEAD), ("body", self.table)):
            start = self.at
            _, n = self.head()
            self.add(start, 0, "%s: %d field%s" %
                     (what, n, "" if n == 1 else "s"))
            for _ in range(n):
                self.pair(1, table)
        return "\n".join(self.lines)


def annotate(data, direction):
    return Annotator(data, direction).run()


def write_examples():
    """Blocks "```hex NAME" of the page are rewritten from the vectors."""
    by_name = dict(iter_frames(load_vectors()))
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()

    def block(m):
        v = by_name[m.group(1)]
        text = annotate(bytes.fromhex(v["hex"]), v["direction"])
        return "```hex %s\n%s\n```" % (m.group(1), text)

    page = re.sub(r"^```hex (\S+)\n(?:.*\n)*?```$", block, page, flags=re.M)
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(page)


def main(argv):
    if argv[1:] == ["fill"]:
        fill()
    elif argv[1:] == ["examples"]:
        write_examples()
    elif len(argv) == 3 and argv[1] == "show":
        data = bytes.fromhex(argv[2])
        kind = decode(data)["head"].get("type")
        reply = isinstance(kind, str) and TYPES[kind] >= 32
        print(annotate(data, "reply" if reply else "request"))
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
