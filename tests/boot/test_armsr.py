"""A router with an AArch64 processor, in short."""

import json

import pytest

from router import OURS, accepted, head


@pytest.fixture(scope="module")
def router(world):
    made = world.router("armsr-armv8").start()
    yield made
    made.pull_plug()


def test_hosts_the_domain(router, world):
    assert router.shell("uname -m") == "aarch64\n"
    peer = router.peer(port=443)
    assert peer.sock.version() == "TLSv1.3"
    answer = peer.ask(head("GET", "/.well-known/matrix/server"))
    assert json.loads(answer.body) == {"m.server": f"matrix.{OURS}:8448"}
    accepted(peer.ask(head("GET", "/_matrix/federation/v1/version")))
    assert world.home.requests[-1].target == b"/_matrix/federation/v1/version"


def test_kept_over_a_power_cut(router, world, origins):
    """A delivery of each server, acknowledged while the homeserver is away."""
    world.sleep()
    router.wait_state("asleep")
    sent = {}
    for origin in origins:
        target = origin.next_target()
        sent[target] = origin.body("kept")
        accepted(router.ask(origin.request(target, sent[target])))
    router.pull_plug()
    router.start()
    world.wake()
    router.wait("them to arrive", lambda: set(world.taken()) == set(sent))
    assert {request.target.decode(): request.body for request in world.home.requests
            if request.method == b"PUT"} == sent
    router.wait_state("awake")
