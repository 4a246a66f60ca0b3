"""Finding the other server: .well-known, SRV, port 8448; the right Host, SNI and certificate on each path."""

import json

import pytest

from remote import Remote, assert_own_error, assert_relayed, synapse
from support.raw import Server, server_context


@pytest.fixture(scope="module")
def door(world, home):
    return world.door(world.sections(home, world.outbound()))


@pytest.fixture
def ask(world, door):
    return lambda name, **options: world.plain_peer().ask(synapse(name, **options))


def server(world, number, port, *names, addresses=()):
    certificate = world.authority.issue(*names, addresses=addresses)
    return world.server((number, port), certificate=certificate)


def test_port_8448(ask, world):
    plain = Remote(world, "plain.example", 10)
    assert_relayed(ask("plain.example"))
    assert plain.federation.requests[0].get("host") == b"plain.example"


def test_port_in_the_name(ask, world):
    there = server(world, 11, 8000, "port.example")
    world.dns.add("port.example", "A", world.address(11))
    assert_relayed(ask("port.example:8000"))
    assert there.requests[0].get("host") == b"port.example:8000"
    assert world.dns.asked("_matrix-fed._tcp.port.example") == 0


def test_well_known_with_a_port(ask, world):
    remote = Remote(world, "wk1.example", 12, port=8000, host="matrix.wk1.example", well_known="matrix.wk1.example:8000")
    assert_relayed(ask("wk1.example"))
    assert remote.federation.requests[0].get("host") == b"matrix.wk1.example:8000"
    assert [request.target for request in remote.web.requests] == [b"/.well-known/matrix/server"]
    assert remote.web.requests[0].get("host") == b"wk1.example"


def test_well_known_without_a_port(ask, world):
    remote = Remote(world, "wk2.example", 13, host="matrix.wk2.example", well_known="matrix.wk2.example")
    assert_relayed(ask("wk2.example"))
    assert remote.federation.requests[0].get("host") == b"matrix.wk2.example"


def test_well_known_then_srv(ask, world):
    """SRV of the delegated name; Host and certificate are those of the delegated name."""
    Remote(world, "wk3.example", 14, host="matrix.wk3.example", well_known="matrix.wk3.example")
    target = server(world, 15, 8765, "matrix.wk3.example")
    world.dns.add("_matrix-fed._tcp.matrix.wk3.example", "SRV", (10, 5, 8765, "box.wk3.example"))
    world.dns.add("box.wk3.example", "A", world.address(15))
    assert_relayed(ask("wk3.example"))
    assert target.requests[0].get("host") == b"matrix.wk3.example"


@pytest.mark.parametrize("service, number", [("_matrix-fed", 16), ("_matrix", 17)])
def test_srv(ask, world, service, number):
    name = f"srv{number}.example"
    target = server(world, number, 8765, name)
    world.dns.add(f"{service}._tcp.{name}", "SRV", (10, 5, 8765, f"box.{name}"))
    world.dns.add(f"box.{name}", "A", world.address(number))
    world.dns.add(name, "A", world.address(99))
    assert_relayed(ask(name))
    assert target.requests[0].get("host") == name.encode()


def test_new_srv_before_the_old_one(ask, world):
    new, old = server(world, 18, 8001, "both.example"), server(world, 18, 8002, "both.example")
    world.dns.add("_matrix-fed._tcp.both.example", "SRV", (10, 5, 8001, "box.both.example"))
    world.dns.add("_matrix._tcp.both.example", "SRV", (10, 5, 8002, "box.both.example"))
    world.dns.add("box.both.example", "A", world.address(18))
    assert_relayed(ask("both.example"))
    assert len(new.requests) == 1 and not old.requests


def test_srv_priority_and_fallback(ask, world):
    """The best target is down, the next one answers."""
    target = server(world, 19, 8002, "prio.example")
    world.dns.add("_matrix-fed._tcp.prio.example", "SRV", (20, 5, 8002, "box.prio.example"))
    world.dns.add("_matrix-fed._tcp.prio.example", "SRV", (10, 5, 8001, "down.prio.example"))
    world.dns.add("box.prio.example", "A", world.address(19))
    world.dns.add("down.prio.example", "A", world.address(98))
    assert_relayed(ask("prio.example"))
    assert len(target.requests) == 1


def test_alias_in_dns(ask, world):
    remote = Remote(world, "real.example", 20, certificate=world.authority.issue("alias.example"))
    world.dns.add("alias.example", "CNAME", "real.example")
    assert_relayed(ask("alias.example"))
    assert remote.federation.requests[0].get("host") == b"alias.example"


def test_truncated_dns_answers_are_asked_again_by_tcp(ask, world):
    remote = Remote(world, "tcpdns.example", 21)
    world.dns.fail("tcpdns.example", "truncate")
    assert_relayed(ask("tcpdns.example"))
    assert remote.federation.requests


def test_ip_literal(ask, world):
    there = server(world, 22, 8448, addresses=[world.address(22)])
    assert_relayed(ask(world.address(22)))
    assert there.requests[0].get("host") == world.address(22).encode()


def test_ip_literal_with_a_port(ask, world):
    there = server(world, 22, 8999, addresses=[world.address(22)])
    assert_relayed(ask(f"{world.address(22)}:8999"))
    assert there.requests[0].get("host") == f"{world.address(22)}:8999".encode()


def test_ip_literal_needs_its_own_certificate(ask, world):
    there = server(world, 23, 8448, "named.example")
    assert_own_error(ask(world.address(23)), 502, "tls")
    assert not there.requests


@pytest.mark.parametrize("number, redirect", [(24, "https://wk24.example/other"), (25, "/elsewhere?x=1")])
def test_well_known_redirects(ask, world, number, redirect):
    name = f"wk{number}.example"
    remote = Remote(world, name, number, port=8000, well_known=f"{name}:8000")

    def script(exchange):
        if exchange.request.target == b"/.well-known/matrix/server":
            exchange.respond(302, b"", [(b"Location", redirect.encode())], b"Found")
        else:
            remote.answer_web(exchange)

    remote.web.script = script
    assert_relayed(ask(name))
    assert len(remote.web.requests) == 2


@pytest.mark.parametrize("number, body, status, fields", [
    (30, b"not json", 200, []), (31, b"{}", 200, []), (32, b'{"m.server":7}', 200, []),
    (33, b'{"m.server":""}', 200, []), (34, b'{"m.server":"a b"}', 200, []), (35, b"", 500, []),
    (36, b'{"m.server":"x.example:8000"}', 404, []), (37, b'{"m.server":"x.example:8000"}' + b" " * 100000, 200, []),
    (38, b'{"m.server":"x.example:8000"}', 200, [(b"Content-Encoding", b"gzip")]),
    (39, b'{"m.server":"https://x.example"}', 200, []),
])
def test_well_known_that_is_none(ask, world, number, body, status, fields):
    """What is not a good answer counts as none: on to SRV and 8448."""
    remote = Remote(world, f"odd{number}.example", number)
    remote.web.script = lambda exchange: exchange.respond(status, body, fields)
    assert_relayed(ask(f"odd{number}.example"))
    assert len(remote.federation.requests) == 1


def test_well_known_with_a_bad_certificate_counts_as_none(ask, world):
    world.dns.add("badweb.example", "A", world.address(40))
    federation = server(world, 40, 8448, "badweb.example")
    web = server(world, 40, 443, "another.example")
    assert_relayed(ask("badweb.example"))
    assert federation.requests and not web.requests


def test_lookups_are_remembered_and_merged(ask, world, door):
    remote = Remote(world, "cached.example", 41, port=8000, well_known="cached.example:8000")
    before = door.counters()
    peers = [world.plain_peer() for _ in range(5)]
    for peer in peers:
        peer.send(synapse("cached.example"))
    for peer in peers:
        assert_relayed(peer.response())
    assert_relayed(ask("cached.example"))
    after = door.counters()
    assert after["resolve_lookups"] - before["resolve_lookups"] == 1
    assert after["resolve_cached"] - before["resolve_cached"] >= 1
    assert len(remote.web.requests) == 1


def test_resolve_verb_agrees(world, door):
    Remote(world, "verb.example", 42, port=8000, host="matrix.verb.example", well_known="matrix.verb.example:8000")
    status, document = door.resolve("verb.example")
    assert status == 0 and document["error"] is None
    assert document["server_name"] == "verb.example"
    assert document["addresses"] == [f"{world.address(42)}:8000"]
    assert document["host_header"] == "matrix.verb.example:8000" and document["tls_name"] == "matrix.verb.example"
    assert document["steps"] and document["expires_in_s"] > 0
    status, document = door.resolve("nowhere.example")
    assert status == 1 and document["error"]
    done = door.run("resolve")
    assert done.returncode == 2


def test_ipv6(world, door, ask):
    try:
        there = server_at_ipv6(world)
    except OSError:
        pytest.skip("no IPv6 loopback here")
    world.dns.add("six.example", "AAAA", "::1")
    response = ask("six.example:8666")
    assert response.status in (200, 403)
    if response.status == 200:
        assert there.requests[0].get("host") == b"six.example:8666"
    else:
        assert json.loads(response.body)["errcode"] == "M_FORBIDDEN", "::1 is not in allow_range"


def server_at_ipv6(world):
    there = Server(("::1", 8666), server_context(world.authority.issue("six.example")))
    world.servers.append(there)
    return there
