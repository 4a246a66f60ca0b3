"""SIGTERM: running requests are finished, then the process ends with status 0."""

import signal
import threading

import pytest

from talk import UPLOAD, VERSION, get, head


@pytest.fixture
def door(world, home, own_door):
    return own_door(world.sections(home))


def holding(home):
    """A homeserver that answers requests with ?wait only when released."""
    release = threading.Event()

    def script(exchange):
        if b"wait" in exchange.request.target:
            release.wait(20)
        exchange.respond(body=exchange.read_body() or b"done")

    home.script = script
    return release


def test_running_requests_are_finished(world, door, home):
    release = holding(home)
    peers = [world.peer() for _ in range(3)]
    for peer in peers:
        peer.send(get(VERSION + "?wait"))
    idle = world.peer()
    idle.ask(get())
    home.wait_requests(4)
    door.child.signal(signal.SIGTERM)
    assert idle.ends() and idle.end == "closed", "idle ones go at once"
    with pytest.raises(OSError):
        world.peer().ask(get())
    release.set()
    for peer in peers:
        response = peer.response()
        assert response.body == b"done"
        assert peer.ends()
    assert door.child.wait() == 0


def test_half_a_head_is_not_waited_for(world, door, home):
    """As long as a running request is: it goes first."""
    release = holding(home)
    running, half = world.peer(), world.peer()
    running.send(get(VERSION + "?wait"))
    half.send(b"GET /_matrix")
    home.wait_requests(1)
    door.child.signal(signal.SIGTERM)
    half.ends()
    release.set()
    assert running.response().body == b"done"
    assert door.child.wait() == 0


def test_running_upload_is_finished(world, door, home):
    holding(home)
    peer = world.peer()
    peer.send(head("POST", UPLOAD, "Content-Length: 10") + b"12345")
    home.wait_requests(1)
    door.child.signal(signal.SIGTERM)
    peer.send(b"67890")
    assert peer.response().body == b"1234567890"
    assert door.child.wait() == 0


def test_request_that_never_ends_is_cut(world, door, home):
    """After a few seconds it is over anyway, with a visible cut and in good order."""
    release = holding(home)
    peer = world.peer()
    peer.send(get(VERSION + "?wait"))
    home.wait_requests(1)
    door.child.signal(signal.SIGTERM)
    peer.rest()
    assert door.child.wait() == 0
    release.set()


def test_second_signal_ends_at_once(world, door, home):
    release = holding(home)
    peer = world.peer()
    peer.send(get(VERSION + "?wait"))
    home.wait_requests(1)
    door.child.signal(signal.SIGTERM)
    with pytest.raises(OSError):
        while True:
            world.peer().close()
    door.child.signal(signal.SIGTERM)
    assert door.child.wait() == 0
    release.set()


def test_nothing_running(door):
    door.child.signal(signal.SIGTERM)
    assert door.child.wait() == 0


def test_half_made_connections(world, door):
    world.plain_peer(8448)
    world.peer().send(b"GET /")
    door.child.signal(signal.SIGTERM)
    assert door.child.wait() == 0
