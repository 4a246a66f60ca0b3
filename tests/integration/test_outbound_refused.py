"""Requests on the outbound listener that are refused, and failures on the way: what Synapse is told."""

import socket
import threading

import pytest

from remote import Remote, assert_own_error, assert_relayed, synapse
from talk import assert_error, get, head

LIMITS = {"resolve_timeout": "2s"}


@pytest.fixture(scope="module")
def door(world, home):
    return world.door(world.sections(home, world.outbound(), limits=LIMITS))


@pytest.fixture(scope="module")
def far(world):
    return Remote(world, "far.example", 10)


@pytest.fixture
def ask(world, door, far):
    return lambda *args, **options: world.plain_peer().ask(synapse(*args, **options))


@pytest.mark.parametrize("secret", [None, "wrong", "", "correct-horse-battery-staple2", "correct-horse-battery-stapl"])
def test_wrong_secret(ask, door, far, secret):
    before = door.counted("outbound_unauthorized")
    response = ask("far.example", secret=secret)
    assert_own_error(response, 407, "secret")
    assert door.counted("outbound_unauthorized") == before + 1
    assert not far.federation.requests


@pytest.mark.parametrize("field", [
    "Proxy-Authorization: Basic correct-horse-battery-staple", "Proxy-Authorization: correct-horse-battery-staple",
    "Proxy-Authorization: Bearer", "Authorization: Bearer correct-horse-battery-staple"])
def test_secret_in_another_place(ask, far, field):
    assert ask("far.example", secret=None, fields=[field]).status == 407
    assert not far.federation.requests


def test_two_secrets(ask, far):
    assert ask("far.example", fields=["Proxy-Authorization: Bearer other"]).status == 407


SECRET_FIELD = "Proxy-Authorization: Bearer correct-horse-battery-staple"


@pytest.mark.parametrize("target", [
    "/_matrix/federation/v1/version", "https://far.example/_matrix/federation/v1/version",
    "http://far.example/x", "matrix://far.example/x", "ftp://far.example/x"])
def test_other_targets(world, door, far, target):
    response = world.plain_peer().ask(get(target, SECRET_FIELD, host="far.example"))
    assert_own_error(response, 400, "name")
    assert not far.federation.requests


def test_no_connect_here(world, door):
    response = world.plain_peer().ask(head("CONNECT", "far.example:8448", SECRET_FIELD), "GET")
    assert 400 <= response.status < 500


@pytest.mark.parametrize("target", ["matrix-federation://user@far.example/x", "matrix-federation:///x",
                                    "matrix-federation://far.example:99999/x", "matrix-federation://far.example/x#y",
                                    "matrix-federation://fär.example/x", "matrix-federation://[::1/x"])
def test_targets_that_cannot_be(world, door, target):
    response = world.plain_peer().ask(get(target, SECRET_FIELD, host="far.example"))
    assert response.status == 400


@pytest.mark.parametrize("name", ["localhost", "router.lan", "nas.local", "box.home.arpa", "x.internal", "single",
                                  "x.onion", "1.2.3", "far.example.1"])
def test_names_that_are_never_followed(ask, world, name):
    response = ask(name)
    assert response.status in (400, 403)
    assert_own_error(response, response.status, "blocked" if response.status == 403 else "name")
    assert not world.dns.asked(name)


def test_unknown_name(ask):
    assert_own_error(ask("nowhere.example"), 502, "dns")


@pytest.mark.parametrize("how", ["servfail", "refused"])
def test_dns_fails(ask, world, how):
    name = f"{how}.example"
    for owner in (name, f"_matrix-fed._tcp.{name}", f"_matrix._tcp.{name}"):
        world.dns.fail(owner, how)
    assert_own_error(ask(name), 502, "dns")


def test_dns_does_not_answer(world, door):
    """Silence, and packets that are none; both at once, because it takes a while."""
    peers = []
    for how in ("timeout", "garbage"):
        name = f"{how}.example"
        for owner in (name, f"_matrix-fed._tcp.{name}", f"_matrix._tcp.{name}"):
            world.dns.fail(owner, how)
        peers.append(world.plain_peer())
        peers[-1].send(synapse(name))
    for peer in peers:
        response = peer.response()
        assert response.status in (502, 504)
        assert response.get("x-doorstep-error") in (b"dns", b"timeout")


def test_nobody_listens(ask, world):
    world.dns.add("closed.example", "A", world.address(77))
    assert_own_error(ask("closed.example"), 502, "connect")


def server(world, name, number, certificate):
    world.dns.add(name, "A", world.address(number))
    return world.server((number, 8448), certificate=certificate)


@pytest.mark.parametrize("kind", ["other-name", "expired", "future", "unknown-authority", "common-name-only", "self"])
def test_bad_certificates(ask, world, kind):
    name = f"{kind}.example"
    authority = world.authority
    certificate = {
        "other-name": lambda: authority.issue("another.example"),
        "expired": lambda: authority.issue_expired(name),
        "future": lambda: authority.issue_future(name),
        "unknown-authority": lambda: world.unknown_authority().issue(name),
        "common-name-only": lambda: authority.issue_common_name_only(name),
        "self": lambda: world.unknown_authority().issue(name, days=(-1, 1)),
    }[kind]()
    number = 20 + ["other-name", "expired", "future", "unknown-authority", "common-name-only", "self"].index(kind)
    bad = server(world, name, number, certificate)
    assert_own_error(ask(name), 502, "tls")
    assert not bad.requests, "nothing was said before the certificate was checked"


def test_wildcard_certificate(ask, world):
    good = server(world, "wild.card.example", 30, world.authority.issue("*.card.example"))
    assert_relayed(ask("wild.card.example"))
    assert good.requests
    server(world, "too.wild.card.example", 31, world.authority.issue("*.card.example"))
    assert_own_error(ask("too.wild.card.example"), 502, "tls")


def test_plain_server_where_tls_should_be(ask, world):
    world.dns.add("plain.example", "A", world.address(32))
    listener = socket.create_server((world.address(32), 8448))

    def serve():
        sock, _ = listener.accept()
        sock.recv(5)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        sock.close()

    threading.Thread(target=serve, daemon=True).start()
    assert_own_error(ask("plain.example"), 502, "tls")
    listener.close()


@pytest.mark.parametrize("answer", [
    b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"SSH-2.0-x\r\n"])
def test_answers_that_are_not_http(ask, far, answer):
    def script(exchange):
        exchange.send(answer)
        exchange.close()

    far.federation.script = script
    assert_own_error(ask("far.example"), 502, "answer")


def test_server_closes_without_an_answer(ask, far):
    far.federation.script = lambda exchange: exchange.reset()
    response = ask("far.example", "/_matrix/federation/v1/send/1", "PUT", b"{}")
    assert response.status == 502 and response.get("x-doorstep-error")


def test_malformed_requests_of_the_homeserver(world, door, far):
    peer = world.plain_peer()
    peer.send(b"GET matrix-federation://far.example/x HTTP/1.1\nHost: x\n\n")
    assert peer.response().status == 400
    assert peer.ends() and not far.federation.requests


def test_rest_of_the_public_door_is_not_here(world, door, far):
    response = world.plain_peer().ask(get("/.well-known/matrix/server", SECRET_FIELD))
    assert response.status == 400


def test_own_name_stays_in_the_house(ask, home):
    """A name that is served here goes to its homeserver, by the public door's rules."""
    response = ask("example.org", "/_matrix/federation/v1/query/profile?user_id=%40a%3Aexample.org")
    assert_relayed(response)
    request, = home.requests
    assert request.target == b"/_matrix/federation/v1/query/profile?user_id=%40a%3Aexample.org"
    assert_error(ask("example.org", "/_synapse/admin/v1/users"), 404)
    assert len(home.requests) == 1
