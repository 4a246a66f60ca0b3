"""Long polls live, however small the other deadlines are; what takes too long is ended with 504.

The long ones begin first and are looked at last, so that the file takes as long as the longest.
"""

import threading
import time

import pytest

from remote import Remote, assert_own_error, synapse
from support.process import wait_until
from talk import CLIENT, assert_cors, assert_error, get, put

SMALL = {"handshake_timeout": "2s", "head_timeout": "2s", "idle_timeout": "2s", "body_timeout": "2s",
         "write_timeout": "2s", "pool_timeout": "2s", "homeserver_timeout": "2s"}
POLL_S = 20


def take_time(exchange):
    """Silent before the head or in the middle of the body."""
    exchange.read_body()
    if exchange.request.target.endswith(b"head"):
        time.sleep(POLL_S)
        exchange.respond(body=b"news")
    elif exchange.request.target.endswith(b"body"):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nne")
        time.sleep(POLL_S)
        exchange.send(b"ws")
    else:
        exchange.respond()


@pytest.fixture(scope="module")
def polls(world):
    """A peer that waits for a head, one for the rest of a body, one with TLS 1.2; and the homeserver itself."""
    homeserver = world.server((50, 8008), take_time)
    far = Remote(world, "far.example", 51)
    far.federation.script = take_time
    world.door(world.sections(homeserver, world.outbound(f"{world.address(52)}:8009"), host=52, limits=SMALL))
    peers = [world.peer(host=52), world.peer(host=52), world.peer(host=52, tls12=True),
             world.plain_peer(host=52), world.plain_peer(host=52)]
    for peer, what in zip(peers[:3], ("head", "body", "head")):
        peer.send(get(f"{CLIENT}?{what}"))
    for peer, what in zip(peers[3:], ("head", "body")):
        peer.send(synapse("far.example", f"/_matrix/federation/v1/x?{what}"))
    world.peers.clear()  # they stay open from test to test
    yield peers
    for peer in peers:
        peer.close()


@pytest.fixture(scope="module")
def door(world, home, polls):
    return world.door(world.sections(home, world.outbound(), limits={"response_timeout": "10s"}))


@pytest.fixture(autouse=True)
def tidy(world, home):
    """Instead of the usual look at the gauges: the polls go on."""
    yield
    world.close_peers()


def test_too_slow_is_504(world, door, home):
    """All at once: GET, PUT and a client path of peers, and a request of the homeserver to another server."""
    far = Remote(world, "slow.example", 53)
    for server in (home, far.federation):
        server.script = lambda exchange: exchange.peer_left(60) and exchange.close()
    peers = [(world.peer(), get()), (world.peer(), put()), (world.peer(), get(CLIENT)),
             (world.plain_peer(), synapse("slow.example"))]
    for peer, request in peers:
        peer.send(request)
    *own, outbound = [peer.response() for peer, _ in peers]
    for response in own:
        assert_error(response, 504)
    assert_cors(own[2])
    assert_own_error(outbound, 504, "timeout")
    for server in (home, far.federation):
        wait_until("the connections to end", lambda s=server: s.open == 0)


def test_long_polls_live(world, polls):
    """Others are served meanwhile."""
    stop, served = threading.Event(), []

    def others():
        while not stop.wait(0.3):
            served.append(world.peer(host=52).ask(put()).status)

    thread = threading.Thread(target=others)
    thread.start()
    assert [peer.response().body for peer in polls] == [b"news"] * 5
    stop.set()
    thread.join()
    assert set(served) == {200}


def test_nothing_is_left(world, polls, door):
    for peer in polls:
        peer.close()
    for one in world.doors:
        one.settle()
