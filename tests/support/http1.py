"""A second, strict reading of HTTP/1.1, independent of the program under test (RFC 9112, no leniency).

Source: anything with recv_some() -> bytes, b"" at the end.
"""

import re
from dataclasses import dataclass, field

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)")
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.1")
FIELD_LINE = re.compile(rb"(" + TOKEN + rb"): (|[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)")
CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")


class Malformed(Exception):
    """The program under test wrote something that is not HTTP/1.1."""


class Cut(Exception):
    """The message ended early; `got` is what there was of it."""

    def __init__(self, got):
        super().__init__(f"ended after {len(got)} bytes: {got[-200:]!r}")
        self.got = got


@dataclass
class Message:
    fields: list = field(default_factory=list)  # [(name, value)] as bytes, in order
    body: bytes = b""
    raw_head: bytes = b""
    chunks: list = field(default_factory=list)  # sizes, when it was chunked

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower().encode()]

    def get(self, name):
        """The only value, None when absent."""
        values = self.all(name)
        if len(values) > 1:
            raise Malformed(f"{name} comes {len(values)} times: {values}")
        return values[0] if values else None


@dataclass
class Request(Message):
    method: bytes = b""
    target: bytes = b""
    connection: int = 0  # which connection it came on, for scripted servers
    index: int = 0       # how many came before it there


@dataclass
class Response(Message):
    status: int = 0
    reason: bytes = b""
    interim: list = field(default_factory=list)  # statuses of 1xx before it


class Reader:
    """Takes messages out of a byte source."""

    def __init__(self, recv_some):
        self.recv_some = recv_some
        self.waiting = b""
        self.ended = False

    def more(self):
        """False at the end."""
        data = b"" if self.ended else self.recv_some()
        self.ended = not data
        self.waiting += data
        return bool(data)

    def take(self, count):
        while len(self.waiting) < count:
            if not self.more():
                raise Cut(self.waiting)
        got, self.waiting = self.waiting[:count], self.waiting[count:]
        return got

    def line(self):
        while (at := self.waiting.find(b"\r\n")) < 0:
            if not self.more():
                raise Cut(self.waiting)
        return self.take(at + 2)[:-2]

    def head(self):
        """[lines], raw bytes."""
        while (at := self.waiting.find(b"\r\n\r\n")) < 0:
            if not self.more():
                raise Cut(self.waiting)
        raw = self.take(at + 4)
        lines = raw[:-4].split(b"\r\n")
        if any(b"\r" in line or b"\n" in line for line in lines):
            raise Malformed(f"stray line end in {raw!r}")
        return lines, raw

    @staticmethod
    def read_fields(lines):
        fields = []
        for line in lines:
            match = FIELD_LINE.fullmatch(line)
            if not match:
                raise Malformed(f"field line {line!r}")
            fields.append((match[1], match[2]))
        return fields

    def body(self, message, request_without=False, to_close=False):
        """Reads the body by the framing the head announces; requests without one have none."""
        coding, length = message.get("transfer-encoding"), message.get("content-length")
        if coding is not None:
            if coding != b"chunked" or length is not None:
                raise Malformed(f"framing: {message.raw_head!r}")
            self.chunked(message)
        elif length is not None:
            if not re.fullmatch(rb"0|[1-9][0-9]*", length):
                raise Malformed(f"length {length!r}")
            try:
                message.body = self.take(int(length))
            except Cut as cut:
                message.body = cut.got
                raise
        elif to_close:
            while self.more():
                pass
            message.body, self.waiting = self.waiting, b""
        elif not request_without:
            raise Malformed(f"a response without framing: {message.raw_head!r}")

    def chunked(self, message):
        parts = []
        try:
            while True:
                size = self.line()
                if not CHUNK_SIZE.fullmatch(size):
                    raise Malformed(f"chunk size {size!r}")
                if int(size, 16) == 0:
                    break
                message.chunks.append(int(size, 16))
                parts.append(self.take(int(size, 16)))
                if self.take(2) != b"\r\n":
                    raise Malformed("no CRLF behind a chunk")
            if self.line() != b"":
                raise Malformed("trailers")
        except Cut as cut:
            raise Cut(b"".join(parts) + cut.got) from None
        finally:
            message.body = b"".join(parts)

    def request_head(self):
        """The next request without its body; None when the connection ended between two."""
        while not self.waiting:
            if not self.more():
                return None
        lines, raw = self.head()
        match = REQUEST_LINE.fullmatch(lines[0])
        if not match:
            raise Malformed(f"request line {lines[0]!r}")
        return Request(method=match[1], target=match[2], fields=self.read_fields(lines[1:]), raw_head=raw)

    def request_body(self, request):
        self.body(request, request_without=True)

    def response_head(self):
        """The next head, interim or final."""
        lines, raw = self.head()
        match = STATUS_LINE.fullmatch(lines[0])
        if not match:
            raise Malformed(f"status line {lines[0]!r}")
        return Response(status=int(match[1]), reason=match[2], fields=self.read_fields(lines[1:]),
                        raw_head=raw)

    def final_head(self):
        """The next final head, with the statuses of what came before it."""
        interim = []
        while (response := self.response_head()).status < 200:
            interim.append(response.status)
        response.interim = interim
        return response

    def response(self, method="GET", version="1.1"):
        """A whole response to a request of that method."""
        response = self.final_head()
        if method != "HEAD" and response.status not in (204, 304):
            close = version == "1.0" and response.get("connection") == b"close"
            self.body(response, to_close=close)
        return response
