"""Every request of the tables, through TLS, against the real door.

Refused ones: the table's status, then the end; the homeserver sees nothing of them nor of what stands
behind them. Good ones arrive there intact.
"""

import re

import pytest

import http_rows
from wire import assert_alive, assert_refused, own, piece_of

TARGET = b"/_matrix/client/row"
# a request line whose target has no meaning of its own gets one that would be passed on
LINE = re.compile(rb"((?:\r\n)?[A-Z]+ (?:https://a(?::8448)?)?)/x?( HTTP/1\.[01]\r\n)")
SIZED = re.compile(r"(line|head|field)-\d+|head-full|fields-")

ROWS = http_rows.load("requests")
CHUNKED = [http_rows.Row(f"body-{row.name}", row.verdict, row.words,
                         b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + row.bytes)
           for row in http_rows.load("chunked")]
ALL = ROWS + CHUNKED
REFUSED = [row for row in ALL if row.verdict not in ("ok", "more")]
GOOD = [row for row in ALL if row.verdict == "ok"]
UNFINISHED = [row for row in ALL if row.verdict == "more"]


def by_name(rows):
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])


def aimed(row):
    """The row's bytes, where that spoils nothing with a target that is relayed."""
    if SIZED.match(row.name):
        return row.bytes
    return LINE.sub(rb"\1" + TARGET + rb"\2", row.bytes, count=1)


def test_there_are_enough():
    assert len(REFUSED) >= 120 and len(ALL) >= 300


@by_name(REFUSED)
def test_refused(world, door, home, row):
    """Behind a good request and in front of one that must not be found."""
    first, answer = own("first")
    smuggled, _ = own("smuggled")
    peer = world.peer("a")
    peer.send(first + aimed(row) + smuggled)
    assert peer.response().body == answer
    assert_refused(peer, int(row.verdict), home, [answer.strip()])
    peer.close()


@by_name(REFUSED)
def test_refused_in_pieces(world, door, home, row):
    data = aimed(row)
    peer = world.peer("a")
    peer.send_gently(data, piece_of(data))
    assert_refused(peer, int(row.verdict), home)
    peer.close()


@pytest.fixture(params=["whole", "pieces"])
def whole(request):
    return request.param == "whole"


def parts_of(data):
    """Method, scheme, path, version and host as anybody reads them in a good request."""
    lines = data.lstrip(b"\r\n").split(b"\r\n")
    method, target, version = lines[0].split(b" ")
    hosts = [line.split(b":", 1)[1].strip().lower() for line in lines[1:] if line.lower().startswith(b"host:")]
    scheme, mark, rest = target.partition(b"://")
    if target.startswith(b"/") or not mark:
        scheme, path = b"", target
    else:
        path = b"/" + rest.partition(b"/")[2]
    return method.decode(), scheme.lower(), path, version[5:].decode(), hosts[0] if hosts else b""


def expected_status(method, scheme, path, host):
    if re.sub(rb":\d+$", b"", host) != b"a":
        return 421
    if scheme not in (b"", b"https"):
        return 400
    if method not in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"):
        return 405
    return 200 if path.startswith((b"/_matrix/client/", b"/_matrix/federation/")) else 404


@by_name(GOOD)
def test_good(world, door, home, row, whole):
    data = aimed(row)
    method, scheme, path, version, host = parts_of(data)
    status = expected_status(method, scheme, path, host)
    peer = world.peer("a")
    peer.send(data, None if whole else piece_of(data))
    response = peer.response(method, version)
    assert response.status == status, response.body
    requests = home.take()
    if status == 200:
        request = requests[0]
        assert request.method == method.encode() and request.target == path
        assert request.get("host").lower() == host
        if "data" in row.words:
            assert request.body == row.words["data"]
        assert response.get("connection") == (b"close" if "close" in row.words else
                                              b"keep-alive" if version == "1.0" else None)
    assert len(requests) == (status == 200)
    if response.get("connection") == b"close":
        assert peer.ends() and peer.end == "closed"
    elif not row.words.get("rest"):
        assert_alive(peer, "after")
        home.take()
    peer.close()


@by_name(UNFINISHED)
def test_unfinished(world, door, home, row):
    """Nothing whole arrives, however it ends."""
    data = aimed(row)
    for leave in ("close", "reset", "shut"):
        peer = world.peer("a")
        peer.send(data)
        getattr(peer, leave)()
        peer.close()
    door.wait_gauge("inbound_requests_open", 0)
    assert home.take() == []
