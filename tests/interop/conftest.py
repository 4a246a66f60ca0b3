"""One world for the whole run, two people in it, and what the doors logged when a test fails."""

import pytest

from .traffic import Crossing
from .world import World, WorldError


def pytest_configure(config):
    config.addinivalue_line("markers", "last: runs after all others")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


@pytest.fixture(scope="session")
def world(request):
    terminal = request.config.pluginmanager.getplugin("terminalreporter")
    it = World(log=lambda line: terminal.write_line(f"interop: {line}"))
    try:
        it.start()
    except WorldError as error:
        pytest.fail(str(error), pytrace=False)
    request.config.interop_world = it
    yield it
    it.stop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    world = getattr(item.config, "interop_world", None)
    if report.failed and world:
        for domain in world.domains:
            report.sections.append((f"doorstep of {domain.server_name}", domain.door.process.last_words(25)))


@pytest.fixture(scope="session")
def home(world):
    return world.home


@pytest.fixture(scope="session")
def away(world):
    return world.away


@pytest.fixture(scope="session")
def adam(home):
    return home.synapse.register("adam")


@pytest.fixture(scope="session")
def egon(away):
    return away.synapse.register("egon")


@pytest.fixture(scope="session")
def testraum(home, away, adam, egon):
    """#testraum:socialnetwork24.com, made by adam, joined by egon by its alias."""
    room = adam.create(preset="public_chat", room_alias_name="testraum", name="Testraum",
                       topic="Türen testen", visibility="public")
    with Crossing(away, home):
        assert egon.join("#testraum:socialnetwork24.com") == room
    adam.wait_member(room, egon.user_id, "join")
    return room


@pytest.fixture
def out(home, away):
    """Asserts requests from socialnetwork24.com to tchncs.de."""
    return lambda path_class="federation": Crossing(home, away, path_class)


@pytest.fixture
def back(home, away):
    """Asserts requests from tchncs.de to socialnetwork24.com."""
    return lambda path_class="federation": Crossing(away, home, path_class)
