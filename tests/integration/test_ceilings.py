"""Ceilings on connections and descriptors: newcomers wait, idle ones make room, nobody is refused."""

import resource
import threading

import pytest

from support.process import wait_until
from support.raw import Peer, client_context
from talk import VERSION, get

LIMITS = {"inbound_connections": "6", "handshakes": "2", "idle_timeout": "60s", "head_timeout": "60s"}


@pytest.fixture
def small(world, home, own_door):
    return own_door(world.sections(home, limits=LIMITS))


def arrive_later(world, results):
    """A peer whose handshake cannot finish now: in a thread."""
    def arrive():
        peer = Peer((world.address(1), 8448), client_context(world.authority.file), "example.org")
        results.append(peer.ask(get()).status)
        peer.close()

    thread = threading.Thread(target=arrive)
    thread.start()
    return thread


def test_idle_connections_make_room(world, home, small):
    peers = [world.peer() for _ in range(6)]
    for peer in peers:
        assert peer.ask(get()).status == 200
    newcomer = world.peer()
    assert newcomer.ask(get()).status == 200
    assert peers[0].ends() and peers[0].end == "closed", "the one idle longest went"
    assert peers[-1].ask(get()).status == 200


def test_newcomers_wait_while_all_are_busy(world, home, small):
    release = threading.Event()

    def script(exchange):
        if b"wait" in exchange.request.target:
            release.wait(20)
        exchange.respond()

    home.script = script
    peers = [world.peer() for _ in range(6)]
    for peer in peers:
        peer.send(get(VERSION + "?wait"))
    home.wait_requests(6)
    small.wait_counter("accept_paused", 1)
    results = []
    threads = [arrive_later(world, results) for _ in range(3)]
    assert small.gauge("inbound_connections_open") == 6 and results == []
    release.set()
    for peer in peers:
        assert peer.response().status == 200
    for thread in threads:
        thread.join()
    assert results == [200, 200, 200]


def test_busy_ones_are_not_closed_for_newcomers(world, home, small):
    """One slow request lives through many arrivals."""
    release = threading.Event()

    def script(exchange):
        if b"wait" in exchange.request.target:
            release.wait(20)
        exchange.respond(body=b"done")

    home.script = script
    slow = world.peer()
    slow.send(get(VERSION + "?wait"))
    home.wait_requests(1)
    for _ in range(20):
        assert world.peer().ask(get()).status == 200
    release.set()
    assert slow.response().body == b"done"


def test_requests_to_the_homeserver_wait(world, home, own_door):
    """Its own ceiling: two at once, the others in turn."""
    sections = world.sections(home, host=40)
    sections = [("homeserver", "nas", {**options, "connection_limit": "2"}) if kind == "homeserver" else
                (kind, name, options) for kind, name, options in sections]
    door = own_door(sections)
    together, most, lock = [0], [0], threading.Lock()
    release = threading.Event()

    def script(exchange):
        with lock:
            together[0] += 1
            most[0] = max(most[0], together[0])
        release.wait(20)
        with lock:
            together[0] -= 1
        exchange.respond()

    home.script = script
    peers = [world.peer(host=40) for _ in range(6)]
    for peer in peers:
        peer.send(get())
    home.wait_requests(2)
    door.wait_gauge("waiting_requests", 4)
    release.set()
    assert [peer.response().status for peer in peers] == [200] * 6
    assert most[0] == 2


def test_nobody_waits_for_ever(world, home, own_door):
    """The only connection to the homeserver is taken by a long answer: 504 after response_timeout."""
    sections = world.sections(home, host=42, limits={"response_timeout": "10s"})
    sections = [("homeserver", "nas", {**options, "connection_limit": "1"}) if kind == "homeserver" else
                (kind, name, options) for kind, name, options in sections]
    door = own_door(sections)
    release = threading.Event()

    def script(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        left = 100
        while left > 1 and not release.wait(0.5):
            exchange.send(b"x")
            left -= 1
        exchange.send(b"x" * left)

    home.script = script
    first, second = world.peer(host=42), world.peer(host=42)
    first.send(get())
    home.wait_requests(1)
    response = second.ask(get())
    release.set()
    assert response.status == 504
    assert first.response().body == b"x" * 100
    assert door.gauge("waiting_requests") == 0 and len(home.requests) == 1


def test_few_descriptors(world, home, own_door):
    """A small RLIMIT_NOFILE: ceilings follow, nothing is refused, nothing spins."""
    door = own_door(world.sections(home, host=41, limits={"idle_timeout": "60s"}), files_max=110)
    status = door.status()["gauges"]["inbound_connections_open"]
    assert 1 <= status["limit"] < 30
    peers = []
    for _ in range(60):
        peer = world.peer(host=41)
        assert peer.ask(get()).status == 200
        peers.append(peer)
        assert door.open_files() <= 110
    assert door.gauge("inbound_connections_open") <= status["limit"]
    assert peers[-1].ask(get()).status == 200


def test_descriptors_run_out(world, home, own_door):
    """Somebody lowers the limit below what is open: connections wait until it is over."""
    door = own_door(world.sections(home, host=42, limits={"idle_timeout": "60s"}))
    peers = [world.peer(host=42) for _ in range(4)]
    for peer in peers:
        peer.ask(get())
    before = resource.prlimit(door.child.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(door.child.pid, resource.RLIMIT_NOFILE, (door.open_files() + 1, before[1]))
    results = []

    def arrive():
        for _ in range(3):
            try:
                peer = Peer((world.address(42), 8448), client_context(world.authority.file), "example.org")
                results.append(peer.ask(get()).status)
                peer.close()
                return
            except OSError:
                results.append("refused")

    threads = [threading.Thread(target=arrive) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until("them to arrive", lambda: all(peer.ask(get()).status in (200, 502, 503) for peer in peers), 5)
    resource.prlimit(door.child.pid, resource.RLIMIT_NOFILE, before)
    for thread in threads:
        thread.join()
    peer = world.peer(host=42)
    assert peer.ask(get()).status == 200
    assert peers[-1].ask(get()).status == 200


def test_handshakes_wait_for_each_other(world, home, small):
    """Two at once; all the others in turn."""
    results = []
    threads = [arrive_later(world, results) for _ in range(16)]
    for thread in threads:
        thread.join()
    assert results == [200] * 16
    assert small.status()["gauges"]["inbound_handshakes_open"]["peak"] <= 2
