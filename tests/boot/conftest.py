"""The world around emulated routers, one for the whole run, and the figures that it ends with."""

import os

import pytest

from router import Outside, Origin, ROOT, answer_all

FIGURES = os.path.join(ROOT, "build/results/boot.figures")


class Figures:
    """Lines of measured values, the last line of the suite."""

    def __init__(self):
        self.values = {}

    def note(self, name, value):
        self.values[name] = value

    def line(self):
        return "malta, 64 MB: " + ", ".join(f"{name} {value}" for name, value in self.values.items())


@pytest.fixture(scope="session")
def world():
    outside = Outside()
    yield outside
    outside.close()


@pytest.fixture(scope="session")
def origins(world):
    """The last one is found by SRV."""
    return [Origin(world, "server1.test"), Origin(world, "server2.test"), Origin(world, "server3.test", by_srv=True)]


@pytest.fixture(scope="session")
def egon(origins):
    return origins[0]


@pytest.fixture(scope="session")
def figures():
    made = Figures()
    yield made
    os.makedirs(os.path.dirname(FIGURES), exist_ok=True)
    with open(FIGURES, "w", encoding="utf-8") as out:
        out.write(made.line() + "\n")


@pytest.fixture(autouse=True)
def tidy(world):
    """Every test begins with a homeserver that is there, and servers that say what they always say."""
    yield
    world.close_peers()
    world.wake()
    world.home.script, world.home.cuts_allowed = answer_all, False
    for server in world.servers:
        server.take()
        server.take_faults()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    world = getattr(item, "funcargs", {}).get("world")
    if report.failed and world:
        for router in world.routers:
            if router.child:
                report.sections.append((f"router {router.number}", router.last_words()))
