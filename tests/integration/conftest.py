"""One test network for each file, usually with one door and one scripted homeserver in it.

A file says what is special about its door in DOOR, for instance DOOR = {"limits": {...}}.
After every test all gauges must be back to zero.
"""

import pytest

from support.process import Failure
from support.raw import echo
from support.world import World


@pytest.fixture(scope="module")
def world():
    with World() as network:
        yield network


@pytest.fixture(scope="module")
def home(world):
    """The homeserver behind the door."""
    return world.server((2, 8008))


@pytest.fixture(scope="module")
def door(world, home, request):
    return world.door(world.sections(home, **getattr(request.module, "DOOR", {})))


@pytest.fixture
def peer(world, door):
    """A connection of another server."""
    return world.peer()


@pytest.fixture
def own_door(world):
    """own_door(sections, ...) starts a door for this test alone."""
    before = list(world.doors)
    yield world.door
    world.close_peers()
    problems = [problem for door in world.doors if door not in before and (problem := door.stop())]
    world.doors[:] = before
    if problems:
        raise Failure("\n".join(problems))


@pytest.fixture(autouse=True)
def tidy(request):
    """Every test begins with quiet servers and leaves nothing behind."""
    used = {"world", "home", "door", "peer", "own_door"} & set(request.fixturenames)
    world = request.getfixturevalue("world") if used else None
    yield
    if world:
        try:
            world.settle()
        finally:
            for server in world.servers:
                server.script, server.cuts_allowed = echo, False
                server.take()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    world = getattr(item, "funcargs", {}).get("world")
    if report.failed and world:
        for door in world.doors:
            if door.child.child:
                report.sections.append(("doorstep", door.child.last_words(25)))
