"""The two Synapses cannot meet but through the doors."""

import re


def test_no_name_resolves_where_they_run(world):
    for domain in world.domains:
        for name in ("socialnetwork24.com", "matrix.socialnetwork24.com", "tchncs.de", "matrix.tchncs.de"):
            done = domain.synapse.inside("getent", "ahosts", name)
            assert done.returncode != 0 and not done.stdout, f"{name} resolves beside {domain.server_name}"


def test_one_has_no_network_at_all(away):
    interfaces = away.synapse.inside("cat", "/proc/self/net/dev").stdout
    assert re.findall(r"^\s*(\S+):", interfaces, re.M) == ["lo"]
    sockets = away.synapse.inside("cat", "/proc/self/net/tcp", "/proc/self/net/tcp6").stdout
    assert not re.search(r"^\s*\d+: ", sockets, re.M), "a TCP socket in an empty network"


def test_names_were_asked_by_the_doors(world, testraum):
    """SRV for one, .well-known and an explicit port for the other."""
    asked = world.names.queries()
    assert ("SRV", "_matrix-fed._tcp.socialnetwork24.com") in asked
    assert ("A", "door.socialnetwork24.com") in asked and ("A", "matrix.tchncs.de") in asked
    assert ("SRV", "_matrix-fed._tcp.tchncs.de") not in asked and ("SRV", "_matrix-fed._tcp.matrix.tchncs.de") not in asked


def test_resolve_agrees(home, away):
    code, found = home.door.resolve("tchncs.de")
    assert code == 0 and found["error"] is None
    assert found["addresses"] == ["127.24.1.1:8448"]
    assert (found["host_header"], found["tls_name"]) == ("matrix.tchncs.de:8448", "matrix.tchncs.de")
    code, found = away.door.resolve("socialnetwork24.com")
    assert code == 0 and found["error"] is None
    assert found["addresses"] == ["127.24.0.1:8449"]
    assert (found["host_header"], found["tls_name"]) == ("socialnetwork24.com", "socialnetwork24.com")
