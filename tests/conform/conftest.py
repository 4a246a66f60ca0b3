"""The batteries' network: a door that serves the name of the tables, and a homeserver that records."""

import pytest

import wire
from support.world import World

# the ceilings that the tables were written for
CEILINGS = {"request_line_max": "8000B", "field_max": "4K", "request_head_max": "8K", "fields_max": "64",
            "response_head_max": "16K"}


@pytest.fixture(scope="module")
def world():
    with World("127.41") as network:
        yield network
        network.settle()


@pytest.fixture(scope="module")
def home(world):
    return wire.Recorder(world.server((2, 8008)))


@pytest.fixture(scope="module")
def door(world, home):
    return world.door(world.sections(home.server, limits=CEILINGS, domain=world.domain("a", client_url=None)))


@pytest.fixture(autouse=True)
def nothing_left(request):
    if "home" in request.fixturenames:
        request.getfixturevalue("home").take()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    world = getattr(item, "funcargs", {}).get("world")
    if report.failed and world:
        for one in world.doors:
            report.sections.append(("doorstep", one.child.last_words(10)))
