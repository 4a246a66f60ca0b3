"""Several domains behind one door: certificates by SNI, homeservers by Host."""

import ssl

import pytest

from support.raw import Peer, client_context
from talk import VERSION, get

NAMES = ("one.example", "two.example", "rsa.example")


@pytest.fixture(scope="module")
def second(world):
    return world.server((3, 8008))


@pytest.fixture(scope="module")
def door(world, home, second):
    authority = world.authority
    one = world.domain("one.example", homeserver="nas", files=authority.issue("one.example"))
    two = world.domain("two.example", homeserver="second", files=authority.issue("two.example", "*.two.example"),
                       client_url="https://chat.two.example")
    rsa = world.domain("rsa.example", homeserver="nas", files=authority.issue("rsa.example", rsa=True))
    main, _, nas, *rest = world.sections(home, limits={"handshake_timeout": "1s"})
    return world.door([main, one, two, rsa, nas, ("homeserver", "second", {"url": world.url_of(second), "repeat_answers": "0"}), *rest])


def names_of(peer):
    return {value for kind, value in peer.sock.getpeercert()["subjectAltName"] if kind == "DNS"}


@pytest.mark.parametrize("tls12", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_certificate_by_name(world, door, name, tls12):
    assert name in names_of(world.peer(name, tls12=tls12))


def test_case_of_the_name(world, door):
    assert "two.example" in names_of(world.peer("TWO.Example"))


def test_wildcard(world, door):
    assert "*.two.example" in names_of(world.peer("chat.two.example"))


def unverified(world, name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(world.authority.file)
    return world.keep(Peer((world.address(1), 8448), context, name))


@pytest.mark.parametrize("name", [None, "unknown.example", "deep.chat.two.example", "example"])
def test_first_certificate_when_none_fits(world, door, name):
    peer = unverified(world, name)
    assert "one.example" in names_of(peer)
    assert peer.ask(get(host="two.example")).status == 200


def test_host_decides_not_sni(world, door, home, second):
    peer = world.peer("one.example")
    for host, server in (("one.example", home), ("two.example", second), ("chat.two.example", second),
                         ("rsa.example", home)):
        server.take()
        assert peer.ask(get(host=host)).status == 200
        assert [request.get("host") for request in server.requests] == [host.encode()]


def test_unknown_host(world, door):
    assert world.peer("one.example").ask(get(host="three.example")).status == 421


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_tls_is_refused(world, door):
    context = client_context(world.authority.file)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(OSError):
        Peer((world.address(1), 8448), context, "one.example")


def test_plain_http_on_the_tls_port(world, door):
    peer = world.plain_peer(8448)
    peer.send(get())
    assert b"HTTP/1.1 200" not in peer.rest()


def test_garbage_on_the_tls_port(world, door):
    for data in (b"\x16\x03\x01\xff\xff" + b"\0" * 100, b"\x16\x03\x01\x00\x05hello", b"\0" * 1000, b"\x15\x03\x01\x00\x02\x02\x28"):
        peer = world.plain_peer(8448)
        peer.send_gently(data)
        peer.rest()
    assert world.peer("one.example").ask(get(VERSION, host="one.example")).status == 200
