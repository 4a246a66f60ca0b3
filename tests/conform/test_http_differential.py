"""Our HTTP reader against h11 and llhttp (as httptools has it).

Messages from the tables in tests/conform/http are damaged at random from a fixed seed. Whatever we
accept, the others must accept too, and read the same method, target, fields, body and end in it.
Where one of them refuses what we accept on purpose, NARROWER says so; every row there must occur.
"""

import json
import os
import random
import re
import struct
import subprocess
from pathlib import Path

import h11
import httptools
import pytest

import http_rows

SEED = 20240229
MUTANTS = {"requests": 20000, "responses": 12000, "chunked": 12000}
ACCEPTED_MIN = 10000  # of them: or the damage is so great that nothing is compared

BUILD = Path(os.environ.get("DOORSTEP", "build/debug/doorstep")).parent
PROGRAM = BUILD / "tests" / "h1_dump"

END, BYTE_BY_BYTE = 1, 2

# what is put in, singly or in the place of something
PIECES = [b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"  ", b":", b",", b";", b"\0", b"\x0b",
          b"\x7f", b"\x80", b"\xa0", b"\xff", b"0", b"00", b"1", b"5", b"a", b"F", b"-", b"+", b"_",
          b"0x", b"chunked", b"identity", b"close", b"keep-alive", b"HTTP/1.0", b"HTTP/1.1", b"/",
          b"*", b"#", b"?", b"@", b"[::1]", b":80", b"https://a", b"%2f", b'"', b"\\", b"(", b")",
          b"GET", b"HEAD", b"CONNECT", b"OPTIONS", b"200", b"204", b"304", b"100"]
LINES = [b"Content-Length: 5", b"Content-Length: 0", b"Content-Length: +5", b"content-length:1",
         b"Transfer-Encoding: chunked", b"transfer-encoding:\tChunked ", b"Host: a", b"Host: b",
         b"Connection: close", b"Connection: keep-alive, x", b"Expect: 100-continue", b" folded",
         b"X: y", b"X:", b"X :y", b": y", b"X_Y: z", b"Upgrade: h2c", b"0", b"1\r\na", b"", b"5;x=y"]


def hit(data, rng, piece):
    """piece put into data, or in the place of some of it."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + piece + data[at + rng.choice([0, 0, 1, 1, len(piece)]):]


def mutate_byte(data, rng):
    return hit(data, rng, bytes([rng.randrange(256)]))


def mutate_piece(data, rng):
    return hit(data, rng, rng.choice(PIECES))


def mutate_cut(data, rng):
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.randrange(1, 5):]


def mutate_case(data, rng):
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at:at + 8].swapcase() + data[at + 8:]


def mutate_line(data, rng):
    lines = data.split(b"\r\n")
    at = rng.randrange(len(lines))
    choice = rng.randrange(4)
    if choice == 0:
        lines.insert(at, rng.choice(LINES))
    elif choice == 1:
        lines.insert(at, rng.choice(lines))
    elif choice == 2:
        del lines[at]
    else:
        lines[at] = rng.choice(LINES)
    return b"\r\n".join(lines)


MUTATIONS = [mutate_byte, mutate_piece, mutate_cut, mutate_case, mutate_line]


class Case:
    def __init__(self, kind, flags, data):
        self.kind, self.flags, self.data = kind, flags, data
        self.ours = None

    def record(self):
        return struct.pack(">cBI", self.kind, self.flags, len(self.data)) + self.data


def seed_case(table, row):
    kind = b"Q"
    if table == "responses":
        kind = {b"HEAD": b"H", b"CONNECT": b"C"}.get(row.words.get("to"), b"G")
    flags = END if "end" in row.words else 0
    return Case(kind, flags, (http_rows.CHUNKED_HEAD if table == "chunked" else b"") + row.bytes)


def mutant(table, seeds, rng):
    seed = rng.choice(seeds)
    data = seed.data
    keep = len(http_rows.CHUNKED_HEAD) if table == "chunked" else 0
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        data = data[:keep] + rng.choice(MUTATIONS)(data[keep:], rng)
    return Case(seed.kind, seed.flags | rng.choice([0, BYTE_BY_BYTE]), data)


def make_cases():
    rng = random.Random(SEED)
    cases = []
    for table in http_rows.TABLES:
        rows = http_rows.load(table)
        short = [row for row in rows if len(row.bytes) < 1500]
        good = [seed_case(table, row) for row in short if row.verdict == "ok"]
        others = [seed_case(table, row) for row in short if row.verdict != "ok"]
        cases += [seed_case(table, row) for row in rows]
        cases += [mutant(table, rng.choice([good, good, good, others]), rng)
                  for _ in range(MUTANTS[table])]
    return cases


def text(hexadecimal):
    return bytes.fromhex(hexadecimal)


@pytest.fixture(scope="module")
def cases():
    cases = make_cases()
    run = subprocess.run([PROGRAM], input=b"".join(case.record() for case in cases),
                         capture_output=True, check=False)
    assert run.returncode == 0, run.stderr[-4000:].decode(errors="replace")
    lines = run.stdout.splitlines()
    assert len(lines) == len(cases)
    for case, line in zip(cases, lines):
        case.ours = json.loads(line)
    return cases


# ---- what we read, in the form that the others are brought to ----

class Refused(Exception):
    pass


class Message:
    """A message as far as it came."""

    def __init__(self):
        self.first = None   # (method, target) or (code, reason)
        self.minor = None
        self.fields = []
        self.body = b""
        self.done = False
        self.used = None    # where it ends, once done

    def __eq__(self, other):
        return vars(self) == vars(other)

    def __repr__(self):
        return repr(vars(self))


def comparable(fields):
    """Without what we drop; as h11 has it: one of equal lengths, Transfer-Encoding in lower case."""
    out = []
    for name, value in fields:
        known = name.lower()
        field = (name, value.lower() if known == b"transfer-encoding" else value)
        again = known == b"content-length" and any(n.lower() == known for n, _ in out)
        if b"_" not in name and not again:
            out.append(field)
    return out


def ours(case):
    head = case.ours["head"]
    message = Message()
    if case.kind == b"Q":
        message.first = (text(head["method"]), text(head["target"]))
    else:
        message.first = (head["code"], text(head["reason"]))
    message.minor = head["minor"]
    message.fields = comparable((text(name), text(value)) for name, value in head["fields"])
    message.body = text(head["body"])
    message.done = case.ours["verdict"] == "ok"
    message.used = case.ours["used"] if message.done else None
    return message


# ---- h11 ----

def h11_connection(case):
    if case.kind == b"Q":
        return h11.Connection(h11.SERVER, max_incomplete_event_size=100000)
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=100000)
    method = {b"G": "GET", b"H": "HEAD", b"C": "CONNECT"}[case.kind]
    connection.send(h11.Request(method=method, target="a:1" if method == "CONNECT" else "/",
                                headers=[("Host", "a"), ("Connection", "upgrade"),
                                         ("Upgrade", "x")]))
    connection.send(h11.EndOfMessage())
    return connection


def h11_first(event, message):
    if isinstance(event, h11.Request):
        message.first = (event.method, event.target)
    else:
        message.first = (event.status_code, event.reason)
    message.minor = int(event.http_version.split(b".")[1])
    message.fields = comparable(event.headers.raw_items())


def is_tunnel(case, event):
    return case.kind == b"C" and isinstance(event, h11.Response) and event.status_code < 300


def read_h11_events(case, connection, message):
    while True:
        event = connection.next_event()
        if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
            return
        if isinstance(event, h11.Data):
            message.body += event.data
        elif not isinstance(event, h11.EndOfMessage):
            h11_first(event, message)
        message.done = isinstance(event, (h11.EndOfMessage, h11.InformationalResponse)) or \
            is_tunnel(case, event)
        if message.done:
            return


def read_h11(case):
    connection, message = h11_connection(case), Message()
    # it knows nothing of an empty line before a request, RFC 9112 2.2
    data = case.data.removeprefix(b"\r\n")
    try:
        connection.receive_data(data)
        if case.flags & END:
            connection.receive_data(b"")
        read_h11_events(case, connection, message)
    except h11.RemoteProtocolError as error:
        if not str(error).startswith("peer closed connection"):
            raise Refused(str(error)) from None
    if message.done:
        message.used = len(case.data) - len(connection.trailing_data[0])
    return message


# ---- llhttp ----

class Llhttp:
    """Collects what httptools reports."""

    def __init__(self, case):
        self.message = Message()
        self.target = b""
        self.reason = b""
        self.parser = (httptools.HttpRequestParser(self) if case.kind == b"Q" else
                       httptools.HttpResponseParser(self))

    def on_url(self, url):
        self.target += url

    def on_status(self, reason):
        self.reason += reason

    def on_header(self, name, value):
        if not self.message.first:
            self.message.fields.append((name, value.strip(b" \t")))

    def on_headers_complete(self):
        if isinstance(self.parser, httptools.HttpRequestParser):
            self.message.first = (self.parser.get_method(), self.target)
        else:
            self.message.first = (self.parser.get_status_code(), self.reason)
        self.message.minor = int(self.parser.get_http_version().split(".")[1])
        self.message.fields = comparable(self.message.fields)

    def on_body(self, body):
        self.message.body += body

    def on_message_complete(self):
        self.message.done = True


def read_llhttp(case):
    """Gets only the bytes that we say the message has: it goes on to the next one by itself."""
    data = case.data[:case.ours["used"]] if case.ours["verdict"] == "ok" else case.data
    reader = Llhttp(case)
    try:
        reader.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        if case.ours["head"]["framing"] != "none":
            raise Refused("Upgrade") from None
        reader.message.done = True
    except httptools.HttpParserError as error:
        raise Refused(str(error)) from None
    if case.ours["head"]["framing"] == "close" and case.flags & END:
        reader.message.done = True  # httptools has no way to say that the connection ended
    if reader.message.done:
        reader.message.used = len(data)
    return reader.message


# ---- where they are narrower ----

def any_request(case):
    return case.kind == b"Q"


def is_chunked(case):
    return case.ours["head"]["framing"] == "chunked"


def has_framing_trailer(case):
    start = case.data.index(b"\r\n\r\n") + 2
    return is_chunked(case) and FRAMING.search(case.data, start) is not None


def has_no_body(case):
    return case.kind != b"Q" and case.ours["head"]["framing"] == "none"


def is_absolute(case):
    return case.ours["head"]["scheme"] != ""


def is_switch(case):
    return case.ours["head"]["code"] == 101


FRAMING = re.compile(rb"\n(content-length|transfer-encoding):", re.IGNORECASE)

BLANKS = "RFC 9112 7.1.1 has blanks around the ';' of an extension"
GRAMMAR = "we skip extensions without reading their grammar"
IGNORED = "lengths mean nothing where there is no body, RFC 9112 6.3"
METHODS = "it has a list of methods"
TRAILERS = "we forget trailers whatever their names are"

NARROWER = [
    # reader, beginning of what it says, where it may, why
    ("h11", "illegal chunk header", is_chunked, BLANKS),
    ("h11", "bad Content-Length", has_no_body, IGNORED),
    ("h11", "conflicting Content-Length headers", has_no_body, IGNORED),
    ("h11", "Only Transfer-Encoding: chunked is supported", has_no_body, IGNORED),
    ("h11", "multiple Transfer-Encoding headers", has_no_body, IGNORED),
    ("llhttp", "Invalid character in Content-Length", has_no_body, IGNORED),
    ("llhttp", "Duplicate Content-Length", has_no_body, IGNORED),
    ("llhttp", "Empty Content-Length", has_no_body, IGNORED),
    ("llhttp", "Content-Length can't be present with", has_no_body, IGNORED),
    ("llhttp", "Transfer-Encoding can't be present with", has_no_body, IGNORED),
    ("h11", "bad Content-Length", has_framing_trailer, TRAILERS),
    ("h11", "conflicting Content-Length headers", has_framing_trailer, TRAILERS),
    ("h11", "Only Transfer-Encoding: chunked is supported", has_framing_trailer, TRAILERS),
    ("h11", "multiple Transfer-Encoding headers", has_framing_trailer, TRAILERS),
    ("llhttp", "Content-Length can't be present with", has_framing_trailer, TRAILERS),
    ("llhttp", "Invalid `Transfer-Encoding` header value", has_framing_trailer, TRAILERS),
    ("llhttp", "Request has invalid `Transfer-Encoding`", is_chunked,
     "it takes no blanks behind the value"),
    ("llhttp", "Invalid character in chunk size", is_chunked, BLANKS),
    ("llhttp", "Invalid character in chunk extensions", is_chunked, GRAMMAR),
    ("llhttp", "Unexpected char in url schema", is_absolute, "it takes letters only"),
    ("llhttp", "Invalid method encountered", any_request, METHODS),
    ("llhttp", "Expected space after method", any_request, METHODS),
    ("llhttp", "Upgrade", any_request, "it leaves the body to the other protocol"),
    ("llhttp", "Pause on CONNECT/Upgrade", is_switch, "it stops at once"),
]


def find_row(reader, case, reason):
    for number, (name, beginning, may, _) in enumerate(NARROWER):
        if name == reader and reason.startswith(beginning) and may(case):
            return number
    return None


def compare(cases, reader, read):
    """What we accept that the reader refuses or reads otherwise; rows of NARROWER that occurred."""
    wrong, rows, count = [], set(), 0
    for case in cases:
        count += 1
        try:
            theirs = read(case)
        except Refused as refused:
            row = find_row(reader, case, str(refused))
            rows.add(row)
            if row is None:
                wrong.append(f"refuses {case.data!r}: {refused}")
            continue
        if ours(case) != theirs:
            wrong.append(f"{case.kind!r} {case.data!r}\n  ours   {ours(case)}\n  theirs {theirs}")
    assert not wrong, f"{len(wrong)} of {count}\n" + "\n".join(wrong[:20])
    assert count > ACCEPTED_MIN
    unused = [row for number, row in enumerate(NARROWER) if row[0] == reader and number not in rows]
    assert not unused, "rows that never occurred"


def accepted(cases):
    """A body that breaks off is no matter here: nothing behind the head was accepted then."""
    return [case for case in cases if case.ours["head"] and case.ours["verdict"] != "refused"]


def test_reads_like_h11(cases):
    compare(accepted(cases), "h11", read_h11)


def test_reads_like_llhttp(cases):
    """httptools cannot be told which request is answered, so HEAD and CONNECT are left out."""
    compare([case for case in accepted(cases) if case.kind in (b"Q", b"G")], "llhttp", read_llhttp)


def test_rows_have_their_verdicts(cases):
    """The tables themselves, once more as the program reads them."""
    at = {(case.kind, case.flags, case.data): case for case in cases}
    for table in http_rows.TABLES:
        for row in http_rows.load(table):
            case = seed_case(table, row)
            got = at[case.kind, case.flags, case.data].ours
            verdict = str(got["status"]) if got["verdict"] == "refused" else got["verdict"]
            assert (verdict, got["slug"]) == (row.verdict, row.words.get("slug", "")), row.name
