"""Reads the tables of tests/conform/http; requests.txt there describes the format.

    for row in load("requests"):
        row.name, row.verdict, row.words, row.bytes

verdict is "ok", "more" or a status as text; words holds what stands behind it, bare words with the
value "" and a refusal's reason as words["slug"].
"""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "http"
TABLES = ("requests", "responses", "chunked")

# what stands before a row of chunked.txt to make it a request
CHUNKED_HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

PART = re.compile(rb"\\\((\d+):([^)]*)\)|\\x([0-9a-fA-F]{2})|\\([rnt\\])|([^\\])", re.DOTALL)
SHORT = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}


@dataclass
class Row:
    name: str
    verdict: str
    words: dict
    bytes: bytes


def unescape(text):
    out, at = [], 0
    while at < len(text):
        part = PART.match(text, at)
        if not part:
            raise ValueError(f"bad escape: {text[at:at + 20]!r}")
        times, repeated, code, short, plain = part.groups()
        if times:
            out.append(unescape(repeated) * int(times))
        elif code:
            out.append(bytes([int(code, 16)]))
        else:
            out.append(SHORT[short] if short else plain)
        at = part.end()
    return b"".join(out)


def parse(line):
    name, verdict, *rest = line.split(None, 2)
    first, *others = verdict.split(b",")
    words = {}
    for word in others:
        key, _, value = word.partition(b"=")
        words[key.decode()] = unescape(value)
    if first.isdigit():
        words = {"slug": others[0].decode()}
    return Row(name.decode(), first.decode(), words, unescape(rest[0] if rest else b""))


def load(table):
    lines = (FOLDER / f"{table}.txt").read_bytes().split(b"\n")
    return [parse(line) for line in lines if line and not line.startswith(b"#")]
