"""Private, reserved and own addresses are refused after resolution, unless the configuration allows a range."""

import pytest

from remote import assert_own_error, assert_relayed, synapse

RESERVED = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.1.1", "192.0.0.8", "192.0.2.1",
            "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
            "0.0.0.0"]
RESERVED_V6 = ["::1", "::", "fe80::1", "fc00::1", "fd12::1", "2001:db8::1", "ff02::1", "fec0::1", "::ffff:127.0.0.1",
               "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"]


@pytest.fixture(scope="module")
def door(world, home):
    """No range is allowed."""
    return world.door(world.sections(home, world.outbound(), main={"allow_range": None}))


@pytest.fixture
def ask(world, door):
    return lambda name: world.plain_peer().ask(synapse(name))


@pytest.mark.parametrize("address", RESERVED)
def test_literal(ask, address):
    assert_own_error(ask(address), 403, "blocked")


@pytest.mark.parametrize("address", RESERVED_V6)
def test_literal_v6(ask, address):
    assert_own_error(ask(f"[{address}]:8448"), 403, "blocked")


@pytest.mark.parametrize("address", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.1."])
def test_odd_spellings_of_a_literal(ask, address):
    response = ask(address)
    assert response.status in (400, 403)


@pytest.mark.parametrize("address", RESERVED[:6])
def test_name_that_leads_there(ask, world, address):
    name = f"leads{address.replace('.', '-')}.example"
    world.dns.add(name, "A", address)
    assert_own_error(ask(f"{name}:8448"), 403, "blocked")


@pytest.mark.parametrize("address", RESERVED_V6[:4] + ["::ffff:127.0.0.1"])
def test_name_that_leads_there_by_ipv6(ask, world, address):
    name = f"leads{abs(hash(address))}.example"
    world.dns.add(name, "AAAA", address)
    assert_own_error(ask(f"{name}:8448"), 403, "blocked")


def test_srv_that_leads_there(ask, world):
    world.dns.add("_matrix-fed._tcp.srvbad.example", "SRV", (10, 5, 8448, "inner.srvbad.example"))
    world.dns.add("inner.srvbad.example", "A", world.address(50))
    there = world.server((50, 8448), certificate=world.certificate("srvbad.example"))
    assert_own_error(ask("srvbad.example"), 403, "blocked")
    assert there.connections == 0


def test_well_known_is_not_fetched_from_there(ask, world):
    world.dns.add("webbad.example", "A", world.address(51))
    web = world.server((51, 443), certificate=world.certificate("webbad.example"))
    assert_own_error(ask("webbad.example"), 403, "blocked")
    assert web.connections == 0


def test_denied_servers(world, home, own_door):
    own_door(world.sections(home, world.outbound(f"{world.address(60)}:8009"),
                            ("policy", "policy", {"deny_server": ["bad.example", "*.worse.example"]}), host=60))
    peer = lambda: world.plain_peer(host=60)  # noqa: E731
    for name in ("bad.example", "BAD.example", "bad.example:8448", "a.worse.example", "b.a.worse.example:1"):
        assert_own_error(peer().ask(synapse(name)), 403, "blocked")
    world.dns.add("good.bad.example", "A", world.address(61))
    world.server((61, 8448), certificate=world.certificate("good.bad.example"))
    assert_relayed(peer().ask(synapse("good.bad.example")))


def test_allowed_range_is_exact(world, home, own_door):
    inside, outside = world.address(62), world.address(63)
    own_door(world.sections(home, world.outbound(f"{world.address(64)}:8009"), host=64,
                            main={"allow_range": [f"{inside}/32"]}))
    world.dns.add("in.example", "A", inside)
    world.dns.add("out.example", "A", outside)
    world.server((62, 8448), certificate=world.certificate("in.example"))
    shut = world.server((63, 8448), certificate=world.certificate("out.example"))
    assert_relayed(world.plain_peer(host=64).ask(synapse("in.example")))
    assert_own_error(world.plain_peer(host=64).ask(synapse("out.example")), 403, "blocked")
    assert shut.connections == 0
