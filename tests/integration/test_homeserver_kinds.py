"""Homeservers behind every kind of url: http, https, a unix socket, an address, a name."""

import os

import pytest

from support.process import wait_until
from talk import VERSION, assert_error, get, post, put

BODY = os.urandom(200000)


@pytest.fixture(scope="module")
def secure(world):
    """A homeserver with TLS of its own, its certificate for a name and for its address."""
    certificate = world.authority.issue("nas.example", addresses=[world.address(5)])
    return world.server((5, 8448), certificate=certificate)


def check(world, server, host, times=3):
    """Requests go there and back, on one kept connection."""
    server.take()
    peer = world.peer(host=host)
    for _ in range(times):
        assert peer.ask(put("/_matrix/federation/v1/send/1", BODY)).status == 200
    requests = server.take()
    assert [request.body for request in requests] == [BODY] * times
    assert len({request.connection for request in requests}) == 1
    assert requests[0].get("host") == b"example.org" and requests[0].get("x-forwarded-proto") == b"https"


def test_unix_socket(world, own_door):
    server = world.server("homeserver.sock")
    own_door(world.sections(server, host=30))
    check(world, server, 30)
    server.stop_listening()
    server.drop_connections()
    wait_until("its connections to end", lambda: server.open == 0)
    assert_error(world.peer(host=30).ask(get()), 503)


def test_https_by_address(world, own_door, secure):
    own_door(world.sections(f"https://{world.address(5)}:8448", host=31))
    check(world, secure, 31)


def test_https_by_name(world, own_door, secure):
    world.dns.add("nas.example", "A", world.address(5))
    own_door(world.sections("https://nas.example:8448", host=32))
    check(world, secure, 32)


def test_http_by_name_that_moves(world, own_door, home):
    world.dns.add("moving.example", "A", world.address(2), ttl=1)
    own_door(world.sections("http://moving.example:8008", host=33))
    check(world, home, 33)


def test_name_that_is_not_there(world, own_door):
    own_door(world.sections("http://gone.example:8008", host=34))
    assert_error(world.peer(host=34).ask(get()), 503)


def test_address_rules_are_for_strangers_only(world, own_door, home):
    """The homeserver's private address is the owner's word, whatever allow_range says."""
    own_door(world.sections(home, host=35, main={"allow_range": None}))
    check(world, home, 35)


@pytest.mark.parametrize("number, kind", [(6, "other-name"), (7, "unknown-authority"), (8, "expired")])
def test_https_with_a_bad_certificate(world, own_door, number, kind):
    address = world.address(number)
    authority = world.unknown_authority() if kind == "unknown-authority" else world.authority
    days = (-30, -1) if kind == "expired" else (-1, 30)
    names = {"addresses": [world.address(99) if kind == "other-name" else address]}
    server = world.server((number, 8448), certificate=authority.issue(days=days, **names))
    own_door(world.sections(f"https://{address}:8448", host=36))
    response = world.peer(host=36).ask(get())
    assert_error(response, response.status)
    assert response.status in (502, 503)
    assert not server.requests


def test_two_domains_two_homeservers(world, own_door, home, secure):
    """One down, the other works on."""
    main, one, nas, *rest = world.sections(home, host=37)
    two = world.domain("two.example", homeserver="second")
    own_door([main, one, two, nas, ("homeserver", "second", {"url": f"http://{world.address(98)}:8008"}), *rest])
    assert world.peer("two.example", host=37).ask(get(host="two.example")).status == 503
    assert world.peer(host=37).ask(get()).status == 200


def test_credentials_directory(world, home):
    """Certificate, key and secret are read by their base names there."""
    certificate = world.certificate("example.org", "matrix.example.org")
    folder = world.path("credentials")
    os.makedirs(folder)
    for path in (certificate.chain, certificate.key):
        os.link(path, os.path.join(folder, os.path.basename(path)))
    sections = world.sections(home, host=38, domain=world.domain(
        certificate=["/etc/nowhere/" + os.path.basename(certificate.chain)],
        key=["/etc/nowhere/" + os.path.basename(certificate.key)]))
    door = world.door(sections, start=False)
    door.child.argv += ["--credentials", folder]
    door.start()
    assert world.peer(host=38).ask(post("/_matrix/client/v3/x", b"{}")).status == 200
    assert world.peer(host=38).ask(get(VERSION)).status == 200
    world.close_peers()
    world.doors.remove(door)
    assert door.stop() == ""
