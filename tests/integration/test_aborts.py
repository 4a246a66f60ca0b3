"""Either side goes away in every phase: nothing stays open, nobody else notices."""

import signal
import ssl
import threading

import pytest

from support.http1 import Cut
from support.process import wait_until
from support.raw import client_context
from talk import SEND, UPLOAD, VERSION, assert_error, get, head, put

BIG = 5_000_000


@pytest.fixture(params=["close", "reset", "shut"])
def how(request):
    """The way a peer leaves; "shut" only says that it will send no more."""
    return request.param


def leave(peer, how):
    getattr(peer, how)()


@pytest.fixture(autouse=True)
def cuts_allowed(home):
    home.cuts_allowed = True


def still_works(world, home):
    home.script = lambda exchange: exchange.respond(body=exchange.read_body() or b"fine")
    assert world.peer().ask(get()).body == b"fine"


def client_hello(world):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context(world.authority.file).wrap_bio(incoming, outgoing, server_hostname="example.org")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("length", [0, 1, 5, 50, 10000])
def test_peer_leaves_in_the_handshake(world, door, home, how, length):
    peer = world.plain_peer(8448)
    peer.send(client_hello(world)[:length])
    leave(peer, how)
    still_works(world, home)


@pytest.mark.parametrize("data", [b"", b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: example.org\r\n\r"])
def test_peer_leaves_in_the_head(world, door, home, how, data):
    peer = world.peer()
    peer.send(data)
    leave(peer, how)
    still_works(world, home)


@pytest.mark.parametrize("data", [
    head("PUT", SEND, "Content-Length: 10"), head("PUT", SEND, "Content-Length: 10") + b"12345",
    head("PUT", SEND, "Transfer-Encoding: chunked") + b"5\r\n123", head("PUT", SEND, "Transfer-Encoding: chunked") + b"5\r",
    head("PUT", SEND, "Content-Length: 10", "Expect: 100-continue")])
def test_peer_leaves_in_the_body(world, door, home, how, data):
    peer = world.peer()
    peer.send(data)
    home.wait_requests(1)
    leave(peer, how)
    door.wait_gauge("inbound_requests_open", 0)
    still_works(world, home)


def test_peer_leaves_in_a_big_upload(world, door, home, how):
    release = threading.Event()
    home.script = lambda exchange: release.wait(20)
    peer = world.peer()
    threading.Thread(target=peer.send_gently, daemon=True,
                     args=(head("POST", UPLOAD, f"Content-Length: {BIG}") + b"x" * 400_000,)).start()
    home.wait_requests(1)
    leave(peer, how)
    release.set()
    door.wait_gauge("inbound_requests_open", 0)
    still_works(world, home)


def test_peer_leaves_while_the_homeserver_thinks(world, door, home):
    """The request is given up at the homeserver, too."""
    gone = threading.Event()

    def script(exchange):
        exchange.read_body()
        if exchange.peer_left():
            gone.set()
        exchange.close()

    for how in ("close", "reset"):
        home.script = script
        gone.clear()
        home.take()
        peer = world.peer()
        peer.send(put())
        home.wait_requests(1)
        leave(peer, how)
        assert gone.wait(20), how
    still_works(world, home)


def test_peer_leaves_in_the_answer(world, door, home, how):
    stopped = threading.Event()

    def script(exchange):
        try:
            exchange.respond(body=b"x" * 50_000_000)
        except OSError:
            stopped.set()
            raise

    home.script = script
    peer = world.peer(window=8192)
    peer.send(get("/_matrix/media/v3/download/a/b"))
    peer.reader.response_head()
    leave(peer, how)
    if how == "shut":  # it may still want the answer
        peer.close()
    assert stopped.wait(20)
    door.wait_gauge("inbound_requests_open", 0)
    still_works(world, home)


def test_peer_leaves_with_requests_waiting(world, door, home, how):
    peer = world.peer()
    peer.send(get() * 20)
    peer.response()
    leave(peer, how)
    door.wait_gauge("inbound_requests_open", 0)
    still_works(world, home)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("answer", [
    b"", b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_homeserver_leaves_before_its_answer(peer, home, how, answer):
    def script(exchange):
        exchange.read_body()
        exchange.send(answer)
        getattr(exchange, how)()

    home.script = script
    response = peer.ask(put())
    assert_error(response, response.status)
    assert response.status in (502, 503)
    home.script = lambda exchange: exchange.respond(body=b"fine")
    assert peer.ask(get()).body == b"fine", "on the same connection"


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("answer, got", [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b""),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", b"hell"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", b"hel"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"hello"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", b"hello"),
])
def test_homeserver_leaves_in_its_answer(world, door, home, how, answer, got):
    now = threading.Event()

    def script(exchange):
        exchange.send(answer)
        now.wait(20)
        getattr(exchange, how)()

    home.script = script
    peer = world.peer()
    peer.send(get())
    response = peer.reader.final_head()
    now.set()
    with pytest.raises(Cut):
        peer.reader.body(response)
    assert got.startswith(response.body)
    assert peer.end.startswith("cut")
    still_works(world, home)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_homeserver_leaves_in_an_upload(world, door, home, how):
    def script(exchange):
        exchange.body_read = True
        exchange.sock.recv(1000)
        getattr(exchange, how)()

    home.script = script
    peer = world.peer()
    sender = threading.Thread(target=peer.send_gently, args=(
        head("POST", UPLOAD, f"Content-Length: {BIG}") + b"x" * BIG,))
    sender.start()
    response = peer.response()
    assert_error(response, response.status)
    assert response.status in (502, 503)
    peer.close()
    sender.join()
    still_works(world, home)


@pytest.mark.parametrize("first", ["homeserver", "peer"])
def test_homeserver_speaks_unasked(peer, door, home, first):
    """Bytes on an idle connection end it; they are nobody's answer, though the next request is there as well."""
    speak, spoken = threading.Event(), threading.Event()

    def script(exchange):
        if exchange.request.target.endswith(b"first"):
            exchange.respond(body=b"asked")
            speak.wait(20)
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nunasked")
            spoken.set()
        else:
            exchange.respond(body=b"second")

    home.script = script
    assert peer.ask(get(VERSION + "?first")).body == b"asked"
    door.child.signal(signal.SIGSTOP)  # both are there when it looks
    try:
        if first == "peer":
            peer.send(get())
        speak.set()
        assert spoken.wait(20)
        if first == "homeserver":
            peer.send(get())
    finally:
        door.child.signal(signal.SIGCONT)
    assert peer.response().body == b"second"
    assert peer.ask(get()).body == b"second"


def test_homeserver_answers_twice(peer, home):
    home.script = lambda exchange: exchange.send(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo")
    for _ in range(4):
        assert peer.ask(get()).body == b"one"
    assert len({request.connection for request in home.requests}) == 4


def test_everybody_leaves_at_once(world, door, home):
    release = threading.Event()
    home.script = lambda exchange: release.wait(20)
    peers = [world.peer() for _ in range(16)]
    for peer in peers:
        peer.send(get())
    home.wait_requests(16)
    for number, peer in enumerate(peers):
        leave(peer, ("close", "reset")[number % 2])
    door.wait_gauge("inbound_requests_open", 0)
    release.set()
    wait_until("the homeserver to be left alone", lambda: home.open == 0)
    still_works(world, home)
