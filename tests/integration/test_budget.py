"""Every connection that the smallest memory class allows holds a body that nobody takes: what that costs.

What holds bytes is full then, in one direction or in both. The figures that support/budget.py adds up
are kept honest here. Measured on the executable that users get; the sanitizers' own memory would hide it.
"""

import threading

import pytest

from remote import Remote, synapse
from support import budget
from support.door import release_executable
from support.process import wait_until
from talk import UPLOAD, get, head

CLASS = 64
ROWS = budget.rows(CLASS)["awake"]
LIMITS = budget.configuration(CLASS)["limits"]
INBOUND, OUTBOUND = LIMITS["inbound_connections"], LIMITS["outbound_connections"]
SERVERS = -(-OUTBOUND // LIMITS["outbound_per_server"])
PIECE = b"x" * (256 * 1024)
SIZE = 1 << 30
LONG = {"body_timeout": "600s", "write_timeout": "600s", "idle_timeout": "600s", "head_timeout": "300s"}


@pytest.fixture
def door(world, home, own_door):
    return own_door(world.sections(home, world.outbound(), limits=LONG), program=release_executable())


@pytest.fixture(scope="module")
def remotes(world):
    return [Remote(world, f"s{number}.example", 20 + number) for number in range(SERVERS)]


def pour(send, released):
    """As much as goes in, until the other end or the test ends it."""
    try:
        while not released.is_set():
            send(PIECE)
    except OSError:
        pass


class Stuck:
    """Bodies without end, from peers and from servers, none of which anybody reads."""

    def __init__(self, kind):
        self.kind = kind
        self.released = threading.Event()
        self.threads = []

    def script(self, exchange):
        """A server: a long answer to a GET, deaf for a body."""
        exchange.body_read = True
        if self.kind != "bodies":
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
            pour(exchange.send, self.released)
        else:
            self.released.wait(120)
        exchange.reset()

    def upload(self, peer):
        thread = threading.Thread(target=pour, args=(peer.send, self.released))
        thread.start()
        self.threads.append(thread)


def steady(door):
    """Anonymous memory in KiB, once it no longer grows."""
    seen = []

    def still():
        seen.append(door.memory("RssAnon"))
        return len(seen) > 10 and max(seen[-10:]) - min(seen[-10:]) < 64
    wait_until("memory to be steady", still, 60, every=0.2)
    return seen[-1]


def ask_inside(world, stuck):
    for _ in range(INBOUND):
        peer = world.peer()
        if stuck.kind == "answers":
            peer.send(get("/_matrix/media/v3/download/a/big"))
        else:
            peer.send(head("POST", UPLOAD, f"Content-Length: {SIZE}"))
            stuck.upload(peer)


def ask_outside(world, stuck, remotes):
    for number in range(OUTBOUND):
        peer, name = world.plain_peer(), remotes[number % len(remotes)].name
        if stuck.kind == "answers":
            peer.send(synapse(name))
        else:
            peer.send(synapse(name, "/x", "PUT", fields=[f"Content-Length: {SIZE}"]))
            stuck.upload(peer)


@pytest.mark.parametrize("kind", ["answers", "bodies", "both"])
def test_full_load(world, home, door, remotes, kind):
    stuck = Stuck(kind)
    servers = [home] + [remote.federation for remote in remotes]
    for server in servers:
        server.script = stuck.script
    idle = steady(door)
    ask_inside(world, stuck)
    inside = steady(door) - idle
    ask_outside(world, stuck, remotes)
    top = steady(door)
    gauges = door.gauges()
    print(f"KiB: idle {idle}, {INBOUND} in {inside}, {OUTBOUND} out {top - idle - inside}, together {top}")
    stuck.released.set()
    world.close_peers()
    for server in servers:
        server.drop_connections()
    assert gauges["inbound_requests_open"] == INBOUND and gauges["server_connections_open"] == OUTBOUND
    assert top < budget.BUDGET_KIB[CLASS]
    assert idle <= ROWS["process"]
    if kind != "both":  # an answer to a body that is still on its way: not long, and never on all of them
        assert inside <= ROWS["connections in, waiting"] + ROWS["connections in, relayed"]
        assert top - idle - inside <= ROWS["connections out"]
