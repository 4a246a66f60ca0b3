"""Requests that the homeserver hands over as Synapse does, and what reaches the other server."""

import os
import threading

import pytest

from remote import Remote, assert_relayed, synapse
from support.http1 import Cut
from support.process import wait_until
from support.raw import start_then_reset
from talk import chunked

NAME = "far.example"


@pytest.fixture(scope="module")
def door(world, home):
    local = ("outbound", "local", {"mode": "matrix-federation", "listen": "unix:" + world.path("out.sock")})
    return world.door(world.sections(home, world.outbound(), local))


@pytest.fixture(scope="module")
def far(world):
    return Remote(world, NAME, 10)


@pytest.fixture
def ask(world, door, far):
    """Sends one request on a connection of its own, as Synapse does."""
    def ask(*args, **options):
        peer = world.plain_peer()
        response = peer.ask(synapse(*(args or (NAME,)), **options))
        assert peer.ends()
        return response
    return ask


def test_get(ask, far):
    target = "/_matrix/federation/v1/event/%24abc%2Fdef?a=1+2&a=%C3%BC"
    response = ask(NAME, target)
    assert_relayed(response)
    assert response.get("connection") == b"close"
    request, = far.federation.requests
    assert (request.method, request.target) == (b"GET", target.encode())
    assert request.get("host") == NAME.encode()
    assert request.get("user-agent") == b"Synapse/1.157.1"
    assert request.all("proxy-authorization") == request.all("connection") == []
    assert request.all("authorization") == [
        b'X-Matrix origin="example.org",key="ed25519:a1",sig="c2ln",destination="far.example"']


def test_only_known_fields_leave_the_house(ask, far):
    ask(fields=["Cookie: a=b", "X-Forwarded-For: 192.168.1.20", "Traceparent: x", "Via: 1.1 home", "X-Request-ID: 7"])
    names = {name.lower() for name, _ in far.federation.requests[0].fields}
    assert names <= {b"host", b"user-agent", b"authorization", b"accept-encoding"}


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("body", [b'{"a":1,"b":"\xc3\xbc"}', b"", os.urandom(300000)], ids=["json", "empty", "big"])
def test_body(ask, far, method, body):
    assert_relayed(ask(NAME, "/_matrix/federation/v1/send/1", method, body))
    request, = far.federation.requests
    assert request.method == method.encode() and request.body == body
    assert request.get("content-length") == b"%d" % len(body)
    assert request.get("content-type") == (b"application/json" if body else None)


def test_delete(ask, far):
    assert_relayed(ask(NAME, "/_matrix/federation/v1/x", "DELETE"))
    assert far.federation.requests[0].method == b"DELETE"


def test_several_authorization_lines(ask, far):
    lines = ['X-Matrix origin="example.org",key="ed25519:1",sig="a"', 'X-Matrix origin="example.org",key="ed25519:2",sig="b"']
    ask(authorization=lines)
    assert far.federation.requests[0].all("authorization") == [line.encode() for line in lines]


@pytest.mark.parametrize("target", [
    "/_matrix/federation/v1/a//b", "/_matrix/federation/v1/..", "/_matrix/federation/v1/%2e%2e/%2F", "/x?", "/?", "/",
    "/_matrix/federation/v1/@a:b!c", "/_matrix/media/v3/download/far.example/AbC?allow_redirect=true",
    "/_matrix/key/v2/server", "/" + "a" * 7000])
def test_target_byte_for_byte(ask, far, target):
    assert_relayed(ask(NAME, target))
    assert far.federation.requests[0].target == target.encode()


@pytest.mark.parametrize("host", ["far.example:80", "other.example", "[::1]:80", "localhost", "192.168.1.1:8009"])
def test_host_means_nothing(world, door, far, host):
    request = synapse(NAME).replace(b"Host: far.example:80", b"Host: " + host.encode())
    assert_relayed(world.plain_peer().ask(request))
    assert far.federation.requests[0].get("host") == NAME.encode()


@pytest.mark.parametrize("status", [200, 201, 204, 301, 307, 400, 401, 403, 404, 429, 500, 502, 503])
def test_statuses_are_passed_on(ask, far, status):
    body = b"" if status == 204 else b'{"errcode":"M_X","error":"theirs"}'
    far.federation.script = lambda exchange: exchange.respond(status, body, [(b"Location", b"https://x.example/")])
    response = ask()
    assert_relayed(response, status)
    assert response.body == body and response.get("location") == b"https://x.example/"
    assert len(far.federation.requests) == 1, "redirects are not followed, errors not repeated"


def test_answer_framings(ask, far):
    body = os.urandom(200000)
    far.federation.script = lambda exchange: exchange.respond(body=body)
    assert ask().body == body
    far.federation.script = lambda exchange: exchange.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, 9999))
    assert ask().body == body

    def until_close(exchange):
        exchange.send(b"HTTP/1.0 200 OK\r\n\r\n" + body)
        exchange.close()

    far.federation.script = until_close
    assert ask().body == body


def test_fields_of_the_answer(ask, far):
    far.federation.script = lambda exchange: exchange.respond(fields=[
        (b"Content-Type", b"application/json; charset=utf-8"), (b"Server", b"Synapse/1"), (b"X-A", b"b"),
        (b"Connection", b"keep-alive, X-Hop"), (b"X-Hop", b"1"), (b"Keep-Alive", b"timeout=5"),
        (b"Proxy-Authenticate", b"Basic"), (b"Trailer", b"X")])
    response = ask()
    assert response.get("content-type") == b"application/json; charset=utf-8"
    assert response.get("server") == b"Synapse/1" and response.get("x-a") == b"b"
    for name in ("x-hop", "keep-alive", "proxy-authenticate", "trailer"):
        assert response.get(name) is None


def test_compression_is_not_asked_for_or_undone(ask, far):
    """Synapse does not decode: an answer must come as it was meant."""
    ask(fields=["Accept-Encoding: gzip"])
    assert far.federation.requests[0].get("accept-encoding") in (None, b"identity")


def test_head_comes_before_the_body_is_there(world, door, far):
    release = threading.Event()

    def script(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        release.wait(20)
        exchange.send(b"body")

    far.federation.script = script
    peer = world.plain_peer()
    peer.send(synapse(NAME))
    response = peer.reader.final_head()
    release.set()
    peer.reader.body(response)
    assert response.body == b"body"


@pytest.mark.parametrize("start", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"half\":"])
def test_truncated_answer_is_truncated(world, door, far, start):
    """The third has no length: TLS says that it was cut off, and so must we."""
    far.federation.script, cut = start_then_reset(start)
    peer = world.plain_peer()
    peer.send(synapse(NAME))
    response = peer.reader.final_head()
    cut()
    with pytest.raises(Cut):
        peer.reader.body(response)


def test_homeserver_gives_up(world, door, far):
    """Its connection ends, then the request at the other server does."""
    gone = threading.Event()

    def script(exchange):
        exchange.read_body()
        if exchange.peer_left():
            gone.set()
        exchange.close()

    far.federation.script = script
    peer = world.plain_peer()
    peer.send(synapse(NAME, "/_matrix/federation/v1/send/1", "PUT", b"{}"))
    far.federation.wait_requests(1)
    peer.close()
    assert gone.wait(20)


def test_homeserver_that_ends_its_side_gets_the_answer(world, door, far):
    release = threading.Event()
    far.federation.script = lambda exchange: (release.wait(20), exchange.respond(body=b"late"))
    peer = world.plain_peer()
    peer.send(synapse(NAME))
    far.federation.wait_requests(1)
    peer.shut()
    release.set()
    assert peer.response().body == b"late"


def test_connections_are_reused(world, door, ask, far):
    far.federation.drop_connections()
    wait_until("old connections to end", lambda: far.federation.open == 0)
    before = door.counters()
    for _ in range(5):
        assert_relayed(ask())
    after = door.counters()
    assert len({request.connection for request in far.federation.requests}) == 1
    assert after["outbound_reused"] - before["outbound_reused"] >= 4
    assert after["outbound_dials"] - before["outbound_dials"] <= 1


def test_sessions_are_resumed(door, ask, far):
    assert_relayed(ask())
    before = door.counted("outbound_handshakes_resumed")
    for _ in range(2):
        far.federation.drop_connections()
        wait_until("old connections to end", lambda: far.federation.open == 0)
        assert_relayed(ask())
    assert door.counted("outbound_handshakes_resumed") > before
    assert far.federation.handshakes[-1]


def test_dead_kept_connection_is_replaced(door, ask, far):
    def script(exchange):
        if exchange.request.index:
            exchange.reset()
        else:
            exchange.read_body()
            exchange.respond()

    far.federation.script = script
    far.federation.drop_connections()
    wait_until("old connections to end", lambda: far.federation.open == 0)
    far.federation.take()
    assert_relayed(ask())
    before = door.counted("retried")
    assert_relayed(ask())
    assert door.counted("retried") == before + 1


def test_unix_socket(world, door, far):
    peer = world.unix_peer(world.path("out.sock"))
    assert_relayed(peer.ask(synapse(NAME, secret=None)))
    assert far.federation.requests[0].get("host") == NAME.encode()


def test_many_at_once(world, door, far):
    """A message in a big room: a request for each of many servers, all together."""
    statuses = []

    def one(number):
        peer = world.plain_peer()
        statuses.append(peer.ask(synapse(NAME, f"/_matrix/federation/v1/send/{number}", "PUT", b"{}")).status)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 60
    assert len(far.federation.requests) == 60


def test_keep_alive_listener(world, door, far):
    """Synapse closes, others may not."""
    peer = world.plain_peer()
    request = synapse(NAME).replace(b"Connection: close\r\n", b"")
    for _ in range(3):
        assert_relayed(peer.ask(request))
    peer.send(request * 3)
    for _ in range(3):
        assert_relayed(peer.response())
