"""Header fields: what is overwritten, what ends here, what passes."""

import pytest

from talk import VERSION, assert_error, get, put

FORGED = ["X-Forwarded-For: 198.51.100.1", "x-forwarded-for: 198.51.100.2", "X-Forwarded-Proto: http",
          "X-Forwarded-Host: evil.example", "X-Forwarded-Port: 1", "X-Forwarded-Server: x",
          "X-Forwarded-Whatever: x", "Forwarded: for=198.51.100.1", "X-Real-IP: 198.51.100.1", "Via: 1.1 evil"]


def test_forwarding_fields_are_ours(world, door, home):
    peer = world.peer(source=world.address(77))
    assert peer.ask(get(VERSION, *FORGED)).status == 200
    request, = home.requests
    assert request.all("x-forwarded-for") == [world.address(77).encode()]
    assert request.all("x-forwarded-proto") == [b"https"]
    assert request.all("x-forwarded-host") == [b"example.org"]
    for name in ("x-forwarded-port", "x-forwarded-server", "x-forwarded-whatever", "forwarded", "x-real-ip", "via"):
        assert request.all(name) == [], name


def test_forwarding_fields_without_a_forgery(peer, home, world):
    assert peer.ask(get(host="Matrix.Example.ORG:8448")).status == 200
    request, = home.requests
    assert request.all("x-forwarded-for") == [b"127.0.0.1"] or \
        request.get("x-forwarded-for").startswith(world.network.encode())
    assert request.get("x-forwarded-proto") == b"https"
    assert request.get("host") == request.get("x-forwarded-host") == b"Matrix.Example.ORG:8448"


@pytest.mark.parametrize("line", [
    "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic eDp5",
    "Proxy-Authenticate: Basic", "TE: trailers", "Trailer: X-A", "Upgrade: websocket", "HTTP2-Settings: AAA",
])
def test_hop_by_hop_fields_end_here(peer, home, line):
    assert peer.ask(put("/_matrix/federation/v1/send/1", b"{}", line, "X-Other: stays")).status == 200
    request, = home.requests
    assert request.all(line.split(":")[0]) == [] and request.get("x-other") == b"stays"
    assert request.get("connection") is None


def test_fields_named_by_connection_end_here(peer, home):
    assert peer.ask(get(VERSION, "Connection: X-Secret , keep-alive", "Connection: x-more", "X-Secret: a",
                        "x-secret: b", "X-MORE: c", "X-Moreover: d")).status == 200
    request, = home.requests
    assert request.all("x-secret") == request.all("x-more") == request.all("connection") == []
    assert request.get("x-moreover") == b"d"


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Authorization", "Content-Type", "X-Forwarded-For"])
def test_connection_may_not_name_end_to_end_fields(peer, home, name):
    response = peer.ask(put("/_matrix/federation/v1/send/1", b"{}", f"Connection: {name}"))
    assert_error(response, 400)
    assert peer.ends() and not home.requests


def test_names_with_underscores_are_dropped(peer, home):
    assert peer.ask(get(VERSION, "X_Forwarded_For: 198.51.100.1", "X_Odd: a", "X-Fine: b")).status == 200
    request, = home.requests
    assert [name for name, _ in request.fields if b"_" in name] == [] and request.get("x-fine") == b"b"


def test_other_fields_pass_in_order(peer, home):
    lines = ["User-Agent: Synapse/1.157.1", "Content-Type: application/json", "X-A: 1", "X-B:", "X-A: 2",
             "Accept: */*", "Cookie: a=b", "If-None-Match: \"x\"", "Range: bytes=0-1", "Origin: https://app.example"]
    assert peer.ask(get(VERSION, *lines)).status == 200
    want = [(name.encode(), value.strip().encode()) for name, value in (line.split(":", 1) for line in lines)]
    assert [field for field in home.requests[0].fields if field in want] == want


def test_hop_by_hop_fields_of_the_answer_end_here(peer, home):
    home.script = lambda exchange: exchange.respond(fields=[
        (b"Connection", b"X-Inner, keep-alive"), (b"X-Inner", b"a"), (b"Keep-Alive", b"timeout=5"),
        (b"Proxy-Authenticate", b"Basic"), (b"Upgrade", b"h2c"), (b"Trailer", b"X"), (b"X-Outer", b"b"),
        (b"Server", b"Synapse"), (b"Via", b"1.1 homeserver")])
    response = peer.ask(get())
    for name in ("connection", "x-inner", "keep-alive", "proxy-authenticate", "upgrade", "trailer"):
        assert response.all(name) == [], name
    assert response.get("x-outer") == b"b" and response.get("server") == b"Synapse"


def test_close_of_the_homeserver_is_not_the_peers_business(peer, home):
    def script(exchange):
        exchange.respond(fields=[(b"Connection", b"close")])
        exchange.close()

    home.script = script
    for _ in range(3):
        response = peer.ask(get())
        assert response.status == 200 and response.get("connection") is None
    assert len({request.connection for request in home.requests}) == 3
