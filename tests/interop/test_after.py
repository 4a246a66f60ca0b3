"""After everything: the doors are idle, lost nothing, and end cleanly."""

import pytest

from .process import wait_until
from .traffic import read


@pytest.mark.last
def test_every_request_passed_both_doors(world, testraum):
    """Nothing federated came in that the other door had not sent out, and nothing sent out went elsewhere.

    Doors ask each other for keys on their own account, too, to check signatures.
    """
    world.stop_homeservers()
    for source, target in ((world.home, world.away), (world.away, world.home)):
        sent, arrived = read(source).counters, read(target).inbound("federation")
        assert 0 < sent["outbound_relayed"] <= arrived <= sent["outbound_requests"] + sent["key_fetches"]


@pytest.mark.last
def test_connections_were_kept(world, testraum):
    """A burst goes over few connections, and names are looked up once in a while, not each time."""
    for domain in world.domains:
        counted = read(domain).counters
        assert counted["outbound_reused"] > counted["outbound_dials"] > 0
        assert counted["resolve_cached"] > counted["resolve_lookups"] > 0


@pytest.mark.last
def test_nothing_failed_on_the_way(world):
    for domain in world.domains:
        figures = read(domain)
        assert figures.failures() == {}
        assert figures.counters["outbound_unauthorized"] == figures.counters["outbound_malformed"] == 0


@pytest.mark.last
def test_every_gauge_is_zero(world):
    world.stop_homeservers()
    for domain in world.domains:
        wait_until(f"gauges of {domain.server_name} (not zero: {read(domain).busy()})",
                   lambda d=domain: not read(d).busy(), 30)


@pytest.mark.last
def test_the_doors_end_cleanly(world):
    world.stop()
    assert world.statuses == {"socialnetwork24.com": 0, "tchncs.de": 0}
    for domain in world.domains:
        assert not domain.door.sanitizer_reports()
