"""One connection, many requests: answered in order, kept or closed as agreed."""

import time

import pytest

from talk import SEND, VERSION, get, head, put, put_chunked

DOOR = {"limits": {"requests_per_connection": "8"}}


def test_requests_follow_each_other(peer, home):
    for number in range(5):
        response = peer.ask(put(f"/_matrix/federation/v1/send/{number}", b"x" * number))
        assert response.status == 200 and b'"body_bytes":%d' % number in response.body
        assert response.get("connection") is None
    assert [request.target for request in home.requests] == [
        b"/_matrix/federation/v1/send/%d" % number for number in range(5)]


def test_connection_to_the_homeserver_is_kept(peer, home):
    for _ in range(4):
        peer.ask(get())
    assert len({request.connection for request in home.requests}) == 1
    assert all(request.get("connection") is None for request in home.requests)


@pytest.mark.parametrize("piece", [None, 1, 7])
def test_pipelined_are_answered_in_order(peer, home, piece):
    def script(exchange):
        exchange.read_body()
        if exchange.request.target.endswith(b"/0"):
            time.sleep(0.2)  # the first is the slowest
        exchange.respond(body=exchange.request.target)

    home.script = script
    requests = [put(f"/_matrix/federation/v1/send/{n}") if n % 2 else get(f"{VERSION}/{n}") for n in range(6)]
    peer.send(b"".join(requests), piece)
    for request in requests:
        assert peer.response().body == request.split(b" ")[1]


def test_pipelined_with_bodies_of_all_kinds(peer, home):
    home.script = lambda exchange: exchange.respond(body=exchange.read_body() or b"none")
    peer.send(put(SEND, b"one") + put_chunked(SEND, b"two two", size=2) + get() + put(SEND, b"") + put(SEND, b"five"))
    assert [peer.response().body for _ in range(5)] == [b"one", b"two two", b"none", b"none", b"five"]


def test_pipelined_behind_a_refused_path(peer, home):
    """A refusal of the path alone does not end the connection."""
    peer.send(get("/_synapse/admin/v1/users") + get())
    assert peer.response().status == 404
    assert peer.response().status == 200
    assert len(home.requests) == 1


def test_close_is_honoured(peer):
    response = peer.ask(get(VERSION, "Connection: close"))
    assert response.status == 200 and response.get("connection") == b"close"
    assert peer.ends() and peer.end == "closed"


def test_nothing_behind_close_is_answered(peer, home):
    peer.send(get(VERSION, "Connection: close") + get())
    assert peer.response().status == 200
    assert peer.ends()
    assert len(home.requests) == 1


def test_http_1_0_closes(peer, home):
    response = peer.ask(head("GET", VERSION, version="1.0"))
    assert response.status == 200 and response.get("connection") == b"close"
    assert peer.ends()
    assert home.requests[0].raw_head.startswith(b"GET %s HTTP/1.1\r\n" % VERSION.encode())


def test_http_1_0_keeps_alive_when_asked(peer):
    for _ in range(2):
        response = peer.ask(head("GET", VERSION, "Connection: keep-alive", version="1.0"))
        assert response.status == 200 and response.get("connection") == b"keep-alive"


def test_ends_in_good_order_after_so_many(peer):
    for number in range(8):
        response = peer.ask(get())
        assert response.get("connection") == (b"close" if number == 7 else None)
    assert peer.ends() and peer.end == "closed"


def test_idle_connection_that_is_closed_by_the_peer(peer, door):
    peer.ask(get())
    peer.close()
    door.wait_gauge("inbound_connections_open", 0)


def test_tls_1_2_and_1_3(world, door):
    assert world.peer(tls12=True).ask(get()).status == 200
    peer = world.peer()
    assert peer.sock.version() == "TLSv1.3" and peer.ask(get()).status == 200


def test_both_ports(world, door):
    for port in (443, 8448):
        assert world.peer(port=port).ask(get()).status == 200


@pytest.mark.parametrize("tls12", [True, False], ids=["1.2", "1.3"])
def test_sessions_are_resumed(world, door, tls12):
    first = world.peer(tls12=tls12)
    first.ask(get())
    before = door.counted("inbound_handshakes_resumed")
    second = world.peer(tls12=tls12, session=first.sock.session)
    assert second.ask(get()).status == 200
    assert second.sock.session_reused
    assert door.counted("inbound_handshakes_resumed") == before + 1
