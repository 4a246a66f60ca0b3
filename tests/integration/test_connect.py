"""The CONNECT listener for homeservers that do discovery and TLS themselves."""

import base64
import socket
import threading

import pytest

from support.process import wait_until
from support.raw import client_context
from talk import get, head

GOOD = "Proxy-Authorization: Basic " + base64.b64encode(b"user:password").decode()


@pytest.fixture(scope="module")
def door(world, home):
    return world.door(world.sections(home, world.connect_listener(), limits={"resolve_timeout": "2s"}))


@pytest.fixture(scope="module")
def far(world):
    world.dns.add("far.example", "A", world.address(10))
    return world.server((10, 8448), certificate=world.certificate("far.example"))


def connect(target, *fields, version="1.1", host=True):
    lines = [f"CONNECT {target} HTTP/{version}", *([f"Host: {target}"] if host else []), *(fields or [GOOD]), "", ""]
    return "\r\n".join(lines).encode()


@pytest.fixture
def open_tunnel(world, door, far):
    def open_tunnel(request):
        peer = world.plain_peer(8010)
        peer.send(request)
        return peer, peer.reader.response_head()
    return open_tunnel


def secure(world, peer, name="far.example"):
    """TLS inside the tunnel, by the homeserver itself."""
    peer.sock = client_context(world.authority.file).wrap_socket(peer.sock, server_hostname=name)
    peer.reader.waiting = b""
    return peer


def test_tunnel(open_tunnel, world, far, door):
    peer, response = open_tunnel(connect("far.example:8448"))
    assert response.status == 200 and response.get("content-length") is None
    assert secure(world, peer).ask(get(host="far.example")).status == 200
    assert far.requests[0].get("host") == b"far.example"
    assert door.gauge("outbound_tunnels_open") == 1


def test_as_synapse_writes_it(open_tunnel, world):
    peer, response = open_tunnel(connect("far.example:8448", GOOD, version="1.0", host=False))
    assert response.status == 200
    assert secure(world, peer).ask(get(host="far.example")).status == 200


def test_bytes_behind_the_head_belong_to_the_tunnel(world, door):
    echo = socket.create_server((world.address(11), 8448))
    world.dns.add("echo.example", "A", world.address(11))
    received = []

    def serve():
        sock, _ = echo.accept()
        while data := sock.recv(1000):
            received.append(data)
            sock.sendall(data.upper())
        sock.close()

    threading.Thread(target=serve, daemon=True).start()
    peer = world.plain_peer(8010)
    peer.send(connect("echo.example:8448") + b"early bytes")
    assert peer.reader.response_head().status == 200
    assert peer.reader.take(11) == b"EARLY BYTES"
    peer.send(b"more")
    assert peer.reader.take(4) == b"MORE"
    peer.shut()
    assert peer.ends()
    echo.close()


def test_big_streams_both_ways(world, door):
    sink = socket.create_server((world.address(12), 8448))
    world.dns.add("sink.example", "A", world.address(12))
    size, got = 20_000_000, []

    def serve():
        sock, _ = sink.accept()
        sender = threading.Thread(target=sock.sendall, args=(b"d" * size,))
        sender.start()
        count = 0
        while count < size and (data := sock.recv(1 << 20)):
            count += len(data)
        got.append(count)
        sender.join()
        sock.close()

    threading.Thread(target=serve, daemon=True).start()
    peer = world.plain_peer(8010)
    peer.send(connect("sink.example:8448"))
    assert peer.reader.response_head().status == 200
    sender = threading.Thread(target=peer.send, args=(b"u" * size,))
    sender.start()
    count = len(peer.reader.waiting)
    while data := peer.sock.recv(1 << 20):
        count += len(data)
    sender.join()
    assert count == size
    wait_until("all to arrive", lambda: got == [size])
    sink.close()


@pytest.mark.parametrize("field", [
    "X-Nothing: here", "Proxy-Authorization: Basic d3Jvbmc6d3Jvbmc=", "Proxy-Authorization: Bearer user:password",
    "Proxy-Authorization: Basic user:password", "Proxy-Authorization: Basic"])
def test_wrong_credentials(open_tunnel, far, field):
    connections = far.connections
    _, response = open_tunnel(connect("far.example:8448", field))
    assert response.status == 407 and response.get("proxy-authenticate")
    assert far.connections == connections


def test_srv_port_names_the_srv_target(open_tunnel, world):
    """Some homeservers write the Matrix name with the port of its SRV record."""
    world.dns.add("_matrix-fed._tcp.srv.example", "SRV", (10, 5, 8765, "box.srv.example"))
    world.dns.add("box.srv.example", "A", world.address(13))
    world.dns.add("srv.example", "A", world.address(98))
    there = world.server((13, 8765), certificate=world.certificate("srv.example"))
    peer, response = open_tunnel(connect("srv.example:8765"))
    assert response.status == 200
    assert secure(world, peer, "srv.example").ask(get(host="srv.example:8765")).status == 200
    assert len(there.requests) == 1


def test_srv_with_another_port_means_nothing(open_tunnel, world):
    world.dns.add("_matrix._tcp.srv2.example", "SRV", (10, 5, 8765, "box.srv2.example"))
    world.dns.add("box.srv2.example", "A", world.address(98))
    world.dns.add("srv2.example", "A", world.address(14))
    world.server((14, 8448), certificate=world.certificate("srv2.example"))
    peer, response = open_tunnel(connect("srv2.example:8448"))
    assert response.status == 200
    assert secure(world, peer, "srv2.example").ask(get(host="srv2.example")).status == 200


@pytest.mark.parametrize("target", ["127.40.200.1:1", "nobody.example:8448", "localhost:8448"])
def test_targets_that_cannot_be_reached(open_tunnel, target):
    _, response = open_tunnel(connect(target))
    assert response.status in (400, 403, 502, 504)
    assert response.get("x-doorstep-error")


@pytest.mark.parametrize("request_bytes", [
    get("http://far.example/", GOOD), head("GET", "/", GOOD), head("GET", "matrix-federation://far.example/", GOOD)])
def test_only_connect(open_tunnel, request_bytes):
    _, response = open_tunnel(request_bytes)
    assert 400 <= response.status < 500


@pytest.mark.parametrize("target", ["far.example", "far.example:0", "far.example:99999", ":8448", "far.example:x"])
def test_targets_without_a_good_port(open_tunnel, target):
    _, response = open_tunnel(connect(target))
    assert response.status == 400


def test_blocked_addresses(world, home, own_door):
    own_door(world.sections(home, world.connect_listener(f"{world.address(60)}:8010"), host=60,
                            main={"allow_range": None}))
    world.dns.add("inner.example", "A", world.address(10))
    for target in ("127.0.0.1:22", "192.168.1.1:80", "inner.example:8448", "::1:22", "[::1]:22", "fe80::1:80"):
        peer = world.plain_peer(8010, host=60)
        peer.send(connect(target))
        response = peer.reader.response_head()
        assert response.status == 403 and response.get("x-doorstep-error") == b"blocked", target


def test_ipv6_without_brackets(world, door, home, own_door):
    own_door(world.sections(home, world.connect_listener(f"{world.address(61)}:8010"), host=61,
                            main={"allow_range": ["::1/128"]}))
    try:
        there = socket.create_server(("::1", 8777), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 loopback here")
    for target in ("::1:8777", "[::1]:8777"):
        peer = world.plain_peer(8010, host=61)
        peer.send(connect(target, GOOD, version="1.0", host=False))
        assert peer.reader.response_head().status == 200
        sock, _ = there.accept()
        sock.sendall(b"six")
        assert peer.reader.take(3) == b"six"
        sock.close()
        assert peer.ends()
    there.close()


def test_either_end_closes(open_tunnel, world, far, door):
    for who in ("homeserver", "server"):
        peer, _ = open_tunnel(connect("far.example:8448"))
        secure(world, peer).ask(get(host="far.example"))
        door.wait_gauge("outbound_tunnels_open", 1)
        if who == "homeserver":
            peer.reset()
        else:
            far.drop_connections()
            peer.rest()
            peer.close()
        door.wait_gauge("outbound_tunnels_open", 0)
