"""Peers that are slow, on purpose or not: every phase has its deadline."""

import socket
import ssl
import threading
import time

import pytest

from support.process import wait_until
from support.raw import Peer, client_context, trickle
from talk import SEND, UPLOAD, VERSION, assert_error, get, head

DOOR = {"limits": {"handshake_timeout": "1s", "head_timeout": "1s", "idle_timeout": "1s", "body_timeout": "1s",
                   "write_timeout": "1s", "response_timeout": "10s"}}


def half_handshake(world):
    """The ClientHello comes, the rest never does."""
    outgoing = ssl.MemoryBIO()
    tls = client_context(world.authority.file).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="example.org")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return said(world.plain_peer(8448), outgoing.read())


def said(peer, data):
    peer.send(data)
    return peer


def idle(world):
    peer = world.peer()
    assert peer.ask(get()).status == 200
    return peer


def begun_body(framing, start):
    return lambda world: said(world.peer(), head("PUT", SEND, framing) + start)


def is_told(peer):
    assert_error(peer.response(), 408)
    assert peer.ends() and peer.end == "closed"


def is_let_go(peer):
    assert peer.ends() and peer.end == "closed"


# name: how it begins, and what becomes of a peer that says nothing more
SILENCES = {
    "no-handshake": (lambda world: world.plain_peer(8448), is_let_go),
    "half-a-handshake": (half_handshake, lambda peer: peer.rest()),
    "no-head": (lambda world: world.peer(), is_let_go),
    "half-a-head": (lambda world: said(world.peer(), b"GET /_matrix/federation/v1/version HTT"), is_told),
    "half-a-second-head": (lambda world: said(idle(world), b"GET /"), is_told),
    "idle": (idle, is_let_go),
    "no-body": (begun_body("Content-Length: 100", b""), is_told),
    "half-a-body": (begun_body("Content-Length: 100", b"x"), is_told),
    "half-a-chunk": (begun_body("Transfer-Encoding: chunked", b"64\r\nx"), is_told),
    "half-a-chunk-size": (begun_body("Transfer-Encoding: chunked", b"6"), is_told),
}


@pytest.fixture(scope="module")
def silent(world, door, home):
    """All of them at once: their time runs out together."""
    home.cuts_allowed = True
    peers = {name: begin(world) for name, (begin, _) in SILENCES.items()}
    world.peers.clear()  # they stay until the last test has looked
    yield peers
    for peer in peers.values():
        peer.close()


@pytest.mark.parametrize("name", SILENCES)
def test_silence(world, door, home, silent, name):
    SILENCES[name][1](silent[name])


def test_byte_by_byte_wins_no_time(world, door, home):
    """A byte now and then does not win more than the time of the whole, in a handshake or a head."""
    request, record = get(VERSION, "X: " + "a" * 500), b"\x16\x03\x01\x02\x00\x01" + b"\0" * 500
    peers = [(world.plain_peer(8448), record), (world.peer(), request), (idle(world), request)]
    home.take()
    sent = {}

    def drip(number, peer, data):
        sent[number] = trickle(peer.sock.sendall, data, 0.05)

    threads = [threading.Thread(target=drip, args=(number, *pair)) for number, pair in enumerate(peers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(sent.values()) < 400 and not home.requests
    for peer, _ in peers:
        peer.rest()


def test_body_that_comes_slowly_but_comes(world, door, home):
    """Slower than every deadline in all, but never idle."""
    peer = world.peer()
    peer.send(head("PUT", SEND, "Content-Length: 8"))
    assert trickle(peer.sock.sendall, b"12345678", 0.3) == 8
    assert peer.response().status == 200
    assert home.requests[0].body == b"12345678"


def test_reader_that_stops(world, door, home):
    """The homeserver is let go when the peer takes nothing of its answer."""
    ended = threading.Event()

    def script(exchange):
        try:
            exchange.respond(body=b"x" * 50_000_000)
        except OSError:
            ended.set()
            raise

    home.script = script
    peer = world.peer(window=4096)
    peer.send(get("/_matrix/media/v3/download/a/b"))
    assert ended.wait(20)
    door.wait_gauge("inbound_requests_open", 0)


def test_reader_that_is_slow_but_reads(world, door, home):
    body = b"x" * 1_000_000
    home.script = lambda exchange: exchange.respond(body=body)
    peer = world.peer(window=65536)
    peer.send(get("/_matrix/media/v3/download/a/b"))
    recv_some = peer.reader.recv_some

    def recv_slowly():
        time.sleep(0.02)
        return recv_some()

    peer.reader.recv_some = recv_slowly
    assert peer.response().body == body


def test_many_slow_ones_beside_a_quick_one(world, door, home):
    """Twenty that trickle their heads do not keep another from being served."""
    slow = [world.peer() for _ in range(20)]
    stop = threading.Event()

    def drip():
        while not stop.is_set():
            for peer in slow:
                peer.send_gently(b"G" if not peer.__dict__.setdefault("begun", False) else b"")
                peer.begun = True
            time.sleep(0.05)

    thread = threading.Thread(target=drip)
    thread.start()
    quick = world.peer()
    assert all(quick.ask(get()).status == 200 for _ in range(50))
    stop.set()
    thread.join()


def test_slow_homeserver_has_more_patience(world, door, home):
    """Deadlines of peers do not run while the homeserver thinks."""
    home.script = lambda exchange: (time.sleep(2.5), exchange.respond(body=b"thought"))
    assert world.peer().ask(get()).body == b"thought"


def test_slow_upload_to_a_slow_homeserver(world, door, home):
    """Back-pressure: the peer is not blamed while the homeserver does not take the body."""
    def script(exchange):
        time.sleep(2.5)
        exchange.respond(body=b"%d" % len(exchange.read_body()))

    home.script = script
    peer = world.peer()
    body = b"x" * 5_000_000
    sender = threading.Thread(target=peer.send_gently, args=(
        head("POST", UPLOAD, f"Content-Length: {len(body)}") + body,))
    sender.start()
    assert peer.response().body == b"%d" % len(body)
    sender.join()


def test_lingering_close_lets_the_answer_through(world, door):
    """A refused upload is not reset before the peer could read why."""
    peer = world.peer()
    peer.send(head("POST", "/_synapse/admin/x", "Content-Length: 40000") + b"x" * 40000)
    assert_error(peer.response(), 404)


def test_half_open_connections_go(world, door):
    sockets = [socket.create_connection((world.address(1), 8448)) for _ in range(10)]
    wait_until("them to be seen", lambda: door.gauge("inbound_connections_open") > 0)
    door.wait_gauge("inbound_connections_open", 0)
    for sock in sockets:
        sock.close()


def test_peer_that_reads_nothing_of_a_handshake(world, door):
    peer = Peer((world.address(1), 8448), window=1024)
    peer.send(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
    peer.rest()
    peer.close()
