"""Bodies in both directions: whatever the framing, the same bytes."""

import hashlib
import os
import threading

import pytest

from support.http1 import Cut
from support.raw import start_then_reset
from talk import SEND, UPLOAD, VERSION, chunked, get, head, post, put, put_chunked

BIG = os.urandom(3 * 1024 * 1024)


def test_length_up(peer, home):
    assert peer.ask(put(SEND, b'{"a":1}')).status == 200
    request, = home.requests
    assert request.body == b'{"a":1}' and request.get("content-length") == b"7"


@pytest.mark.parametrize("size", [1, 3, 1000, None])
def test_chunked_up(peer, home, size):
    body = os.urandom(1500)
    assert peer.ask(put_chunked(SEND, body, size=size)).status == 200
    request, = home.requests
    assert request.body == body and request.get("content-length") is None


def test_empty_bodies_up(peer, home):
    peer.ask(put(SEND, b""))
    peer.ask(put_chunked(SEND, b""))
    first, second = home.requests
    assert first.get("content-length") == b"0" and first.body == second.body == b""


def test_chunk_extensions_and_trailers_go_no_further(peer, home):
    peer.send(head("PUT", SEND, "Transfer-Encoding: chunked", "Trailer: X-Late") +
              b"3;name=value\r\nabc\r\n0;last\r\nX-Late: yes\r\n\r\n")
    assert peer.response().status == 200
    request, = home.requests
    assert request.body == b"abc" and request.chunks == [3] and not request.all("x-late")


def test_get_with_a_body(peer, home):
    assert peer.ask(head("GET", VERSION, "Content-Length: 3") + b"abc").status == 200
    assert home.requests[0].body == b"abc"


def test_body_of_any_bytes(peer, home):
    body = bytes(range(256)) + b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n0\r\n\r\n"
    assert peer.ask(put(SEND, body)).status == 200
    assert peer.ask(put_chunked(SEND, body, size=5)).status == 200
    assert [request.body for request in home.requests] == [body, body]


@pytest.mark.parametrize("framing", [put, put_chunked])
def test_big_up(peer, home, framing):
    home.script = lambda exchange: exchange.respond(body=hashlib.sha256(exchange.read_body()).digest())
    peer.send(framing(UPLOAD, BIG, method="POST"))
    assert peer.response().body == hashlib.sha256(BIG).digest()


def test_body_byte_by_byte(peer, home):
    peer.send(put(SEND, b"0123456789"), piece=1)
    assert peer.response().status == 200
    assert home.requests[0].body == b"0123456789"


def test_length_down(peer, home):
    home.script = lambda exchange: exchange.respond(body=BIG)
    response = peer.ask(get())
    assert response.body == BIG and response.get("content-length") == b"%d" % len(BIG)


@pytest.mark.parametrize("size", [1, 100, 65536])
def test_chunked_down(peer, home, size):
    body = BIG[:size * 30]
    home.script = lambda exchange: exchange.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, size))
    response = peer.ask(get())
    assert response.body == body and response.get("content-length") is None
    assert peer.ask(get()).body == body


def test_until_close_down(peer, home):
    def script(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + BIG[:100000])
        exchange.close()

    home.script = script
    response = peer.ask(get())
    assert response.body == BIG[:100000] and response.get("transfer-encoding") == b"chunked"
    assert peer.ask(get()).status == 200


def test_http_1_0_peer_gets_no_chunks(peer, home):
    home.script = lambda exchange: exchange.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"hello", 2))
    peer.send(head("GET", VERSION, version="1.0"))
    response = peer.response(version="1.0")
    assert response.body == b"hello" and response.get("transfer-encoding") is None
    assert peer.end == "closed"


def test_answers_byte_by_byte(peer, home):
    home.script = lambda exchange: exchange.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"hello world", 4), piece=1)
    assert peer.ask(get()).body == b"hello world"


def test_head_has_no_body(peer, home):
    home.script = lambda exchange: exchange.send(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nContent-Type: image/png\r\n\r\n")
    for _ in range(2):
        response = peer.ask(head("HEAD", VERSION))
        assert response.status == 200 and response.get("content-length") == b"1234"
    assert [request.method for request in home.requests] == [b"HEAD", b"HEAD"]


def test_head_chunked(peer, home):
    home.script = lambda exchange: exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert peer.ask(head("HEAD", VERSION)).status == 200
    assert peer.ask(head("HEAD", VERSION)).status == 200


def test_204_has_no_body_and_no_length(peer, home):
    home.script = lambda exchange: exchange.send(b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n")
    for _ in range(2):
        response = peer.ask(get())
        assert response.status == 204 and response.get("x-a") == b"b"
        assert response.get("content-length") is None and response.get("transfer-encoding") is None


def test_304_keeps_its_fields(peer, home):
    home.script = lambda exchange: exchange.send(
        b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 99\r\n\r\n')
    for _ in range(2):
        response = peer.ask(get(VERSION, 'If-None-Match: "x"'))
        assert response.status == 304 and response.get("etag") == b'"x"'


def test_both_directions_at_once(world, door, home):
    """Several peers, each with a big body up and the same down again."""
    home.script = lambda exchange: exchange.respond(body=exchange.read_body())
    results = []

    def talk(number):
        body = BIG[number * 1000:number * 1000 + 1000000]
        peer = world.peer()
        for _ in range(3):
            results.append(peer.ask(post(UPLOAD, body)).body == body)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 12


def test_upload_cut_short_does_not_look_complete(peer, home, door):
    seen = []

    def script(exchange):
        try:
            exchange.read_body()
        except Cut as cut:
            seen.append(cut.got)
            raise OSError from cut

    home.script = script
    peer.send(head("PUT", SEND, "Content-Length: 100") + b"x" * 50)
    home.wait_requests(1)
    peer.close()
    door.wait_gauge("homeserver_connections_open", 0)
    assert seen == [b"x" * 50]


def test_chunked_upload_cut_short_does_not_look_complete(peer, home, door):
    seen = []

    def script(exchange):
        try:
            exchange.read_body()
        except Cut as cut:
            seen.append(cut.got)
            raise OSError from cut

    home.script = script
    peer.send(head("PUT", SEND, "Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
    home.wait_requests(1)
    peer.close()
    door.wait_gauge("homeserver_connections_open", 0)
    assert seen == [b"hello"]


@pytest.mark.parametrize("start", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
])
def test_answer_cut_short_looks_cut_short(peer, home, start):
    home.script, cut = start_then_reset(start)
    peer.send(get())
    response = peer.reader.final_head()
    cut()
    with pytest.raises(Cut):
        peer.reader.body(response)
    assert response.body in (b"abc", b"")
    assert peer.end.startswith("cut")


def test_length_less_answer_that_is_cut_short(world, door, home):
    """A peer of HTTP/1.0 gets no length and no chunks: only the way TLS ends tells."""
    home.script, cut = start_then_reset(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    peer = world.peer()
    peer.send(head("GET", VERSION, version="1.0"))
    response = peer.reader.final_head()
    cut()
    peer.reader.body(response, to_close=True)
    assert response.body in (b"abc", b"") and peer.end.startswith("cut")
