"""Everybody leaves at random moments, on all sides at once, while the configuration is read again and again.

Afterwards nothing is left of it: gauges, descriptors, sanitizer reports. And nobody ever got
the answer to somebody else's request, or a cut one that looked whole.
"""

import collections
import hashlib
import random
import socket
import struct
import threading
import time

import pytest

from remote import Remote, synapse
from support.http1 import Cut, Malformed
from support.raw import Peer
from talk import get, head, put, put_chunked

SECONDS = 10
WORKERS = 10
SEED = 20
NAME = "far.example"
# kept connections go soon, so that descriptors can be counted; nobody waits longer than the storm lasts
DOOR = {"limits": {"homeserver_timeout": "1s", "pool_timeout": "1s", "body_timeout": "2s", "write_timeout": "2s",
                   "head_timeout": "2s", "inbound_connections": "12", "handshakes": "3", "resolve_timeout": "3s",
                   "outbound_connections": "5", "outbound_per_server": "3"}}
TARGET = "/_matrix/federation/v1/send/%s"
UNASKED = b"unasked"


@pytest.fixture(scope="module")
def door(world, home):
    return world.door(world.sections(home, world.outbound(), world.connect_listener(), **DOOR))


def answer_to(exchange):
    """Says whose it is: the last part of the target, and what came with it."""
    body = exchange.read_body()
    name = exchange.request.target.rsplit(b"/", 1)[1]
    return name + b" " + hashlib.sha256(body).hexdigest().encode() + b" "


def big(exchange):
    body = answer_to(exchange) + b"x" * random.randrange(400000)
    exchange.respond(body=body)


def plain(exchange):
    exchange.respond(body=answer_to(exchange))


def in_chunks(exchange):
    body = answer_to(exchange)
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
    for part in (body, b"y" * random.randrange(1, 100000)):
        exchange.send(b"%x\r\n%s\r\n" % (len(part), part))
        time.sleep(random.random() / 50)
    exchange.send(b"0\r\n\r\n")


def cut_in_chunks(exchange):
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ncut..\r\n")
    exchange.close()


def cut(exchange):
    answer_to(exchange)
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"z" * random.randrange(99999))
    random.choice([exchange.close, exchange.reset])()


def cut_head(exchange):
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-"[:random.randrange(26)])
    random.choice([exchange.close, exchange.reset])()


def early(exchange):
    exchange.respond(413, b"{}", reason=b"Too Large")
    exchange.close()


def gone(exchange):
    exchange.reset()


def nonsense(exchange):
    exchange.send(random.randbytes(random.randrange(1, 60)))
    exchange.close()


def informational(exchange):
    exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n")
    plain(exchange)


def and_then_some(exchange):
    """What it says unasked may meet the next request half-way, which no proxy can tell (RFC 9112 9.3)."""
    plain(exchange)
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" + UNASKED)
    exchange.close()


def slow(exchange):
    body = answer_to(exchange)
    time.sleep(random.random())
    exchange.respond(body=body)


SCRIPTS = [plain] * 6 + [big, in_chunks, slow] * 2 + [cut_in_chunks, cut, cut_head, early, gone, nonsense,
                                                       informational, and_then_some]


def any_script(exchange):
    random.choice(SCRIPTS)(exchange)


class Storm:
    def __init__(self, world):
        self.world = world
        self.until = time.monotonic() + SECONDS
        self.wrong, self.counts = [], collections.Counter()
        self.lock = threading.Lock()

    def going_on(self):
        return time.monotonic() < self.until and not self.wrong

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    # ---- requests ----

    def request(self, number):
        """(method, request, digest of its body, name)."""
        name = "%d-%d" % (number, random.getrandbits(40))
        body = random.randbytes(random.choice([0, 10, 3000, 90000, 300000]))
        kind = random.randrange(6)
        target = TARGET % name
        if kind < 2:
            body, data, method = b"", get(target), "GET"
        elif kind < 4:
            data, method = put(target, body), "PUT"
        elif kind == 4:
            data, method = put_chunked(target, body, size=random.choice([7000, 100])), "PUT"
        else:
            data, method = put(target, body, "Expect: 100-continue"), "PUT"
        return method, data, hashlib.sha256(body).hexdigest(), name

    def check(self, response, name, digest):
        """A whole answer: ours, or the one to this request."""
        self.count(response.status)
        if response.status != 200:
            return
        said = response.body.split(b" ")
        if said[:2] != [name.encode(), digest.encode()] and response.body != UNASKED:
            self.wrong.append((name, digest, response.status, response.body[:80]))

    def leave(self, peer):
        how = random.randrange(3)
        if how == 0:
            peer.reset()
        elif how == 1:
            peer.shut()
            time.sleep(random.random() / 20)
            peer.close()
        else:
            peer.close()

    def one_request(self, peer, number, outbound):
        method, data, digest, name = self.request(number)
        if outbound:
            body = random.randbytes(random.choice([0, 3000, 90000]))
            method = random.choice(["GET", "PUT"])
            body = None if method == "GET" else body
            data = synapse(NAME, TARGET % name, method, body)
            digest = hashlib.sha256(body or b"").hexdigest()
        if random.random() < 0.15:
            peer.send(data[:random.randrange(len(data))])
            time.sleep(random.random() / 20)
            return False
        whole = peer.send_gently(data)
        if random.random() < 0.15:
            time.sleep(random.random() / 20)
            return False
        response = peer.response(method)
        self.check(response, name, digest)
        return whole and response.get("connection") != b"close"

    def visit(self, number, outbound):
        peer = None
        try:
            if outbound:
                peer = Peer((self.world.address(1), 8009))
            else:
                peer = Peer((self.world.address(1), random.choice([443, 8448])), self.world.client_context(),
                            "example.org")
            for _ in range(random.randrange(1, 8)):
                if not self.one_request(peer, number, outbound):
                    break
            self.leave(peer)
        except (OSError, Cut, Malformed) as error:
            self.count(type(error).__name__)
            if isinstance(error, Malformed):
                self.wrong.append(repr(error))
            if peer:
                peer.close()

    def rude(self, _number):
        """Connections that never become anything, and tunnels to somebody who hangs up."""
        sock = socket.create_connection((self.world.address(1), random.choice([443, 8009, 8010])))
        try:
            sock.sendall(random.choice([b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n", head("GET", "x"),
                                        b"CONNECT far.example:8448 HTTP/1.1\r\nHost: x\r\n"
                                        b"Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==\r\n\r\nhello"]))
            time.sleep(random.random() / 5)
        except OSError:
            pass
        if random.random() < 0.5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    # ---- workers ----

    def work(self, number):
        while self.going_on():
            kind = random.random()
            if kind < 0.55:
                self.visit(number, False)
            elif kind < 0.9:
                self.visit(number, True)
            else:
                self.rude(number)

    def reload(self, door):
        while self.going_on():
            time.sleep(random.random() / 2)
            door.child.signal(1)
            self.count("reload")

    def run(self, door):
        threads = [threading.Thread(target=self.work, args=(n,)) for n in range(WORKERS)]
        threads.append(threading.Thread(target=self.reload, args=(door,)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS + 40)
            assert not thread.is_alive(), f"somebody waits for ever; so far {self.counts}"


@pytest.fixture(scope="module")
def far(world):
    return Remote(world, NAME, 10)


def test_storm(world, home, door, far):
    random.seed(SEED)
    servers = (home, far.federation)
    door.settle()
    before = door.open_files()
    for server in servers:
        server.script, server.cuts_allowed = any_script, True
    storm = Storm(world)
    storm.run(door)
    assert not storm.wrong, storm.wrong
    assert storm.counts[200] > 50 and storm.counts["reload"] > 3, storm.counts
    door.settle()
    time.sleep(1.5)  # what was kept goes
    door.settle()
    assert door.open_files() <= before + 1, f"{before} before, {door.open_files()} after"
    home.script = plain  # the storm is over at the homeserver, too
    assert world.peer().ask(get()).status == 200
