"""Messages that two readers might part differently: the homeserver sees exactly what it must, in order."""

import pytest

from wire import assert_alive, own, piece_of

HEAD = "POST /_matrix/client/outer HTTP/1.1\r\nHost: a\r\n"
INNER, _ = own("inner")
ADMIN = b"GET /_synapse/admin/v1/users HTTP/1.1\r\nHost: a\r\n\r\n"


def framed(*lines, body=b""):
    return HEAD.encode() + "".join(line + "\r\n" for line in lines).encode("latin-1") + b"\r\n" + body


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


# (name, bytes): all are refused with 400 or 501, nothing of them is passed on as a whole
REFUSED = [
    ("cl-te", framed(f"Content-Length: {len(INNER) + 5}", "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + INNER)),
    ("te-cl", framed("Transfer-Encoding: chunked", "Content-Length: 4", body=chunk(INNER) + b"0\r\n\r\n")),
    ("cl-cl", framed("Content-Length: 0", f"Content-Length: {len(INNER)}", body=INNER)),
    ("cl-cl-equal", framed(f"Content-Length: {len(INNER)}", f"Content-Length: {len(INNER)}", body=INNER)),
    ("cl-list", framed(f"Content-Length: 0, {len(INNER)}", body=INNER)),
    ("te-te", framed("Transfer-Encoding: chunked", "Transfer-Encoding: x", body=b"0\r\n\r\n" + INNER)),
    ("te-identity", framed("Transfer-Encoding: identity", f"Content-Length: {len(INNER)}", body=INNER)),
    ("te-xchunked", framed("Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + INNER)),
    ("te-space-colon", framed("Transfer-Encoding : chunked", body=b"0\r\n\r\n" + INNER)),
    ("te-tab-colon", framed("Transfer-Encoding\t: chunked", body=b"0\r\n\r\n" + INNER)),
    ("te-fold", framed("Transfer-Encoding:", " chunked", body=b"0\r\n\r\n" + INNER)),
    ("te-vt", framed("Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n" + INNER)),
    ("te-nbsp", framed("Transfer-Encoding: \xa0chunked", body=b"0\r\n\r\n" + INNER)),
    ("te-nul", framed("Transfer-Encoding: chunked\0", body=b"0\r\n\r\n" + INNER)),
    ("te-quoted", framed('Transfer-Encoding: "chunked"', body=b"0\r\n\r\n" + INNER)),
    ("te-comma", framed("Transfer-Encoding: ,chunked", body=b"0\r\n\r\n" + INNER)),
    ("te-1.0", framed("Transfer-Encoding: chunked", body=b"0\r\n\r\n" + INNER).replace(b"HTTP/1.1", b"HTTP/1.0", 1)),
    ("te-bare-lf", framed("X: y\nTransfer-Encoding: chunked", body=b"0\r\n\r\n" + INNER)),
    ("te-bare-cr", framed("X: y\rTransfer-Encoding: chunked", body=b"0\r\n\r\n" + INNER)),
    ("cl-space-colon", framed(f"Content-Length : {len(INNER)}", body=INNER)),
    ("cl-plus", framed(f"Content-Length: +{len(INNER)}", body=INNER)),
    ("cl-octal", framed(f"Content-Length: 0{len(INNER)}", body=INNER)),
    ("cl-hex", framed(f"Content-Length: 0x{len(INNER):x}", body=INNER)),
    ("cl-wraps", framed(f"Content-Length: {(1 << 64) + len(INNER)}", body=INNER)),
    ("cl-named", framed(f"Content-Length: {len(INNER)}", "Connection: Content-Length", body=INNER)),
    ("head-bare-lf", framed("X: y").replace(b"\r\n\r\n", b"\n\n") + INNER),
    ("head-lf-cr", framed("X: y\n\r") + INNER),
    ("chunk-size-lf", framed("Transfer-Encoding: chunked", body=b"2\nab\n0\n\n" + INNER)),
    ("chunk-size-wraps", framed("Transfer-Encoding: chunked", body=b"10000000000000002\r\nab\r\n0\r\n\r\n" + INNER)),
    ("chunk-size-minus", framed("Transfer-Encoding: chunked", body=b"-1\r\n" + INNER)),
    ("chunk-size-0x", framed("Transfer-Encoding: chunked", body=b"0x2\r\nab\r\n0\r\n\r\n" + INNER)),
    ("chunk-size-empty", framed("Transfer-Encoding: chunked", body=b"\r\n0\r\n\r\n" + INNER)),
    ("chunk-data-long", framed("Transfer-Encoding: chunked", body=b"2\r\nabcd\r\n0\r\n\r\n" + INNER)),
    ("chunk-data-short", framed("Transfer-Encoding: chunked", body=b"5\r\nab\r\n0\r\n\r\n" + INNER)),
    ("chunk-ext-lf", framed("Transfer-Encoding: chunked", body=b"2;x\nab\r\n0\r\n\r\n" + INNER)),
    ("chunk-trailer-lf", framed("Transfer-Encoding: chunked", body=b"0\r\nX: y\n\r\n" + INNER)),
    ("chunk-trailer-request", framed("Transfer-Encoding: chunked", body=b"0\r\n" + INNER)),
    ("host-twice", framed("Host: other", "Content-Length: 0") + INNER),
    ("connect-body", b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(INNER) + INNER),
]


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "pieces"])
@pytest.mark.parametrize("data", [data for _, data in REFUSED], ids=[name for name, _ in REFUSED])
def test_refused(world, door, home, data, pieces):
    peer = world.peer("a")
    peer.send_gently(data, piece_of(data) if pieces else None)
    response = peer.response()
    assert response.status in (400, 501), response.status
    assert peer.ends() and peer.end == "closed"
    assert home.take() == []
    peer.close()


# (name, bytes, what the homeserver sees as (method, target, body), what the peer gets)
OUTER = ("POST", "/_matrix/client/outer")
PASSED = [
    ("body-is-a-request", framed(f"Content-Length: {len(INNER)}", body=INNER), [(*OUTER, INNER)], [200]),
    ("chunk-is-a-request", framed("Transfer-Encoding: chunked", body=chunk(INNER) + b"0\r\n\r\n"),
     [(*OUTER, INNER)], [200]),
    ("chunk-is-an-end", framed("Transfer-Encoding: chunked", body=chunk(b"0\r\n\r\n") + b"0\r\n\r\n"),
     [(*OUTER, b"0\r\n\r\n")], [200]),
    ("get-with-a-body", b"GET /_matrix/client/outer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(INNER)
     + INNER, [("GET", OUTER[1], INNER)], [200]),
    ("underscored-length", framed(f"Content_Length: {len(INNER)}", "Content-Length: 0"), [(*OUTER, b"")], [200]),
    ("underscored-coding", framed("Transfer_Encoding: chunked", "Content-Length: 5", body=b"0\r\n\r\n"),
     [(*OUTER, b"0\r\n\r\n")], [200]),
    ("trailer-with-length", framed("Transfer-Encoding: chunked", body=b"2\r\nab\r\n0\r\nContent-Length: 99\r\n\r\n"),
     [(*OUTER, b"ab")], [200]),
    ("two-in-one", framed("Content-Length: 2", body=b"ab") + INNER,
     [(*OUTER, b"ab"), ("GET", "/_matrix/client/own/inner", b"")], [200, 200]),
    ("good-then-admin", INNER + ADMIN + INNER,
     [("GET", "/_matrix/client/own/inner", b"")] * 2, [200, 404, 200]),
    ("admin-in-a-body", framed(f"Content-Length: {len(ADMIN)}", body=ADMIN), [(*OUTER, ADMIN)], [200]),
    ("h2c-upgrade", INNER.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                                  b"HTTP2-Settings: AAMAAABk\r\n\r\n") + ADMIN,
     [("GET", "/_matrix/client/own/inner", b"")], [200, 404]),
    ("expect-and-request", framed("Content-Length: 2", "Expect: 100-continue", body=b"ab") + INNER,
     [(*OUTER, b"ab"), ("GET", "/_matrix/client/own/inner", b"")], [200, 200]),
    ("empty-line-between", framed("Content-Length: 2", body=b"ab") + b"\r\n" + INNER,
     [(*OUTER, b"ab"), ("GET", "/_matrix/client/own/inner", b"")], [200, 200]),
]


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "pieces"])
@pytest.mark.parametrize("data, seen, statuses", [row[1:] for row in PASSED], ids=[row[0] for row in PASSED])
def test_passed(world, door, home, data, seen, statuses, pieces):
    peer = world.peer("a")
    peer.send(data, piece_of(data) if pieces else None)
    assert [peer.response().status for _ in statuses] == statuses
    assert_alive(peer, "after")
    got = [(request.method.decode(), request.target.decode(), request.body) for request in home.take()]
    assert got == [*seen, ("GET", "/_matrix/client/own/after", b"")]
    peer.close()


@pytest.mark.parametrize("data", [
    framed("Content-Length: 1000", body=INNER).replace(b"client/outer", b"nothing"),
    framed("Transfer-Encoding: chunked", body=b"3e8\r\n" + INNER).replace(b"client/outer", b"nothing"),
    b"TRACE /_matrix/client/outer HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + INNER,
    b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n" + INNER,
    framed("Content-Length: 1000", body=INNER).replace(b"Host: a", b"Host: b", 1),
    b"POST /_matrix/federation/v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n" + INNER,
], ids=["not-exposed", "not-exposed-chunked", "trace", "connect", "misdirected", "too-large"])
def test_body_of_a_refused_request_is_not_the_next_one(world, door, home, data):
    """nginx CVE-2019-20372: an error answer must not leave the body, or what was meant for a tunnel,
    to be read as a request."""
    peer = world.peer("a")
    peer.send(data)
    response = peer.response()
    assert 400 <= response.status < 500
    assert response.get("connection") == b"close"
    assert peer.ends()
    assert home.take() == []
    peer.close()


@pytest.mark.parametrize("at", range(0, 120, 7))
def test_pipelined_pair_cut_anywhere(world, door, home, at):
    """Good and bad in one stream, parted at one place: the good one is answered, the bad one refused."""
    first, answer = own("first")
    data = first + framed("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n") + INNER
    peer = world.peer("a")
    peer.send(data[:at])
    peer.send_gently(data[at:])
    assert peer.response().body == answer
    assert peer.response().status == 400
    assert peer.ends()
    assert [request.target for request in home.take()] == [answer.strip()]
    peer.close()
