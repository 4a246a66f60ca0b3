"""Expect: 100-continue, interim answers of the homeserver, answers that come early."""

import threading

import pytest

from talk import SEND, UPLOAD, VERSION, assert_error, get, head


def test_100_comes_when_the_body_is_wanted(peer, home):
    peer.send(head("PUT", SEND, "Content-Length: 5", "Expect: 100-continue"))
    assert peer.reader.response_head().status == 100
    peer.send(b"hello")
    assert peer.response().status == 200
    request, = home.requests
    assert request.body == b"hello" and request.get("expect") is None


def test_100_for_chunked(peer, home):
    peer.send(head("PUT", SEND, "Transfer-Encoding: chunked", "Expect: 100-Continue"))
    assert peer.reader.response_head().status == 100
    peer.send(b"5\r\nhello\r\n0\r\n\r\n")
    assert peer.response().status == 200
    assert home.requests[0].body == b"hello"


def test_peer_that_does_not_wait(peer, home):
    response = peer.ask(head("PUT", SEND, "Content-Length: 5", "Expect: 100-continue") + b"hello")
    assert response.status == 200
    assert home.requests[0].body == b"hello"
    assert peer.ask(get()).status == 200


def test_refused_without_100(peer, home):
    peer.send(head("PUT", "/_synapse/admin/x", "Content-Length: 5", "Expect: 100-continue"))
    response = peer.response()
    assert response.interim == []
    assert_error(response, 404)
    assert response.get("connection") == b"close" and peer.ends()
    assert not home.requests


def test_nothing_sent_no_100_needed(peer):
    response = peer.ask(head("PUT", SEND, "Content-Length: 0", "Expect: 100-continue"))
    assert response.status == 200 and response.interim == []


def test_other_expectations(peer, home):
    response = peer.ask(head("PUT", SEND, "Content-Length: 0", "Expect: a-miracle"))
    assert response.status == 417 and peer.ends()
    assert not home.requests


def test_http_1_0_gets_no_100(peer, home):
    response = peer.ask(head("PUT", SEND, "Content-Length: 5", "Expect: 100-continue", version="1.0") + b"hello")
    assert response.status == 200 and response.interim == []
    assert home.requests[0].body == b"hello"


@pytest.mark.parametrize("interim", [
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n" * 3,
    b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
])
def test_interim_answers_are_passed_over(peer, home, interim):
    def script(exchange):
        exchange.send(interim)
        exchange.respond(body=b"final")

    home.script = script
    for _ in range(2):
        assert peer.ask(get()).body == b"final"


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50,
])
def test_interim_answers_nobody_asked_for(peer, home, answer):
    def script(exchange):
        exchange.send(answer)
        exchange.respond(body=b"final")
        exchange.close()

    home.script = script
    assert_error(peer.ask(get()), 502)


def test_upgrade_stays_http(peer, home):
    response = peer.ask(get(VERSION, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"))
    assert response.status == 200
    request, = home.requests
    assert not (request.all("upgrade") + request.all("http2-settings") + request.all("connection"))


def test_early_answer_during_an_upload(peer, home, door):
    """The answer is passed on, the rest of the body is not wanted, nothing is mixed up afterwards."""
    def script(exchange):
        if exchange.request.method == b"POST":
            exchange.body_read = True
            exchange.respond(413, b'{"errcode":"M_TOO_LARGE","error":"no"}', [(b"Connection", b"close")])
            exchange.peer_left()
            exchange.close()
        else:
            exchange.respond()

    home.script = script
    peer.send(head("POST", UPLOAD, "Content-Length: 100000000") + b"x" * 10000)
    response = peer.response()
    assert response.status == 413 and response.get("connection") == b"close"
    peer.send_gently(b"x" * 1000)
    assert peer.ends()


def test_early_answer_while_the_upload_goes_on(world, door, home):
    """A peer that sends and does not read finds the answer when it looks."""
    def script(exchange):
        exchange.body_read = True
        exchange.respond(401, b"{}", reason=b"Unauthorized")
        exchange.peer_left()
        exchange.close()

    home.script = script
    peer = world.peer()
    peer.send(head("POST", UPLOAD, "Content-Length: 400000"))
    uploader = threading.Thread(target=peer.send_gently, args=(b"x" * 40000,))
    uploader.start()
    uploader.join()
    assert peer.response().status == 401
    assert peer.ends()


def test_answer_before_the_body_without_close(peer, home):
    """The homeserver keeps its connection, but half a request is on it: it must not be used again."""
    def script(exchange):
        if exchange.request.method == b"PUT":
            exchange.body_read = True
            exchange.respond(403, b"early", reason=b"Forbidden")
            exchange.peer_left()
            exchange.close()
        else:
            exchange.respond(body=b"next")

    home.script = script
    peer.send(head("PUT", SEND, "Content-Length: 10") + b"12345")
    assert peer.response().body == b"early"
    assert peer.ends()
