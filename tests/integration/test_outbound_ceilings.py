"""Ceilings of the outbound side: whoever comes late waits, nobody is refused."""

import threading

import pytest

from remote import Remote, assert_own_error, synapse
from talk import get


@pytest.fixture(scope="module")
def federation(world):
    return Remote(world, "far.example", 10).federation


def crowd(world, host, count, results):
    """So many requests of the homeserver at once."""
    def one(number):
        peer = world.plain_peer(host=host)
        results.append(peer.ask(synapse("far.example", f"/_matrix/federation/v1/x/{number}")).status)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


class Turnstile:
    """A script that counts how many are inside, until it is opened."""

    def __init__(self):
        self.now = self.most = 0
        self.lock, self.opened = threading.Lock(), threading.Event()

    def __call__(self, exchange):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.opened.wait(20)
        with self.lock:
            self.now -= 1
        exchange.respond()


@pytest.mark.parametrize("limits", [
    {"outbound_connections": "3", "outbound_per_server": "3"}, {"outbound_per_server": "3"}],
                         ids=["in-all", "per-server"])
def test_connections_to_other_servers(world, home, federation, own_door, limits):
    door = own_door(world.sections(home, world.outbound(f"{world.address(20)}:8009"), host=20, limits=limits))
    gate, results = Turnstile(), []
    federation.script = gate
    threads = crowd(world, 20, 10, results)
    federation.wait_requests(3)
    door.wait_gauge("waiting_requests", 7)
    gate.opened.set()
    for thread in threads:
        thread.join()
    assert results == [200] * 10 and gate.most == 3


def test_nobody_waits_for_ever(world, home, federation, own_door):
    """The only connection to other servers is taken by a long answer: 504 after response_timeout."""
    limits = {"outbound_connections": "1", "outbound_per_server": "1", "response_timeout": "10s"}
    door = own_door(world.sections(home, world.outbound(f"{world.address(24)}:8009"), host=24, limits=limits))
    release = threading.Event()

    def script(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        left = 100
        while left > 1 and not release.wait(0.5):
            exchange.send(b"x")
            left -= 1
        exchange.send(b"x" * left)

    federation.script = script
    first, second = world.plain_peer(host=24), world.plain_peer(host=24)
    first.send(synapse("far.example"))
    federation.wait_requests(1)
    response = second.ask(synapse("far.example"))
    release.set()
    assert_own_error(response, 504, "timeout")
    assert first.response().body == b"x" * 100
    assert door.gauge("waiting_requests") == 0 and len(federation.requests) == 1


def test_connections_of_homeservers(world, home, federation, own_door):
    """Accepting pauses; the kernel keeps the others."""
    lan = world.outbound(f"{world.address(21)}:8009", connection_limit="3")
    door = own_door(world.sections(home, lan, host=21))
    gate, results = Turnstile(), []
    federation.script = gate
    threads = crowd(world, 21, 8, results)
    federation.wait_requests(3)
    assert door.gauge("outbound_connections_open") == 3
    assert door.counted("accept_paused") >= 1
    assert world.peer(host=21).ask(get()).status == 200, "the public side goes on"
    gate.opened.set()
    for thread in threads:
        thread.join()
    assert results == [200] * 8 and gate.most == 3


def test_idle_connections_of_homeservers_make_room(world, home, federation, own_door):
    lan = world.outbound(f"{world.address(22)}:8009", connection_limit="3")
    own_door(world.sections(home, lan, host=22, limits={"idle_timeout": "60s"}))
    request = synapse("far.example").replace(b"Connection: close\r\n", b"")
    for _ in range(8):
        assert world.plain_peer(host=22).ask(request).status == 200


def test_handshakes(world, home, federation, own_door):
    """One at a time, and many servers to reach."""
    door = own_door(world.sections(home, world.outbound(f"{world.address(23)}:8009"), host=23,
                                   limits={"handshakes": "1", "dns_queries": "1"}))
    names = [f"s{number}.example" for number in range(6)]
    for number, name in enumerate(names):
        world.dns.add(name, "A", world.address(30 + number))
        world.server((30 + number, 8448), certificate=world.certificate(name))
    peers = [world.plain_peer(host=23) for _ in names]
    for peer, name in zip(peers, names):
        peer.send(synapse(name))
    assert [peer.response().status for peer in peers] == [200] * 6
    gauges = door.status()["gauges"]
    assert gauges["server_handshakes_open"]["peak"] == 1 and gauges["dns_queries_open"]["peak"] == 1
