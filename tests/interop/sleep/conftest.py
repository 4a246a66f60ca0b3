"""Both worlds live through the same night at the same time; the tests look at what they left.

SLEEP_LONGER in the environment: seconds that the homeservers stay off after the last message.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ..process import wait_until
from ..world import ROOT, World
from .story import PROMISED, Story

RESULT = os.path.join(ROOT, "build", "results", "sleep.delay")

# The defaults: what anybody with a state_dir has.
KEEPS = {}

LONGER = float(os.environ.get("SLEEP_LONGER", "0"))


def live_through(story):
    story.prepare()
    story.look("before")
    story.fall_asleep()
    story.write()


def keeping(story):
    live_through(story)
    wait_until("the door to take everything in", lambda: not story.ledger.unsent(), 60,
               lambda: f" (unsent: {story.ledger.unsent()}, back-off: {story.ledger.backoff()})")
    story.look("asleep")
    story.say("everything was acknowledged on behalf of the homeserver that is off")
    time.sleep(LONGER)
    story.wake()
    story.gather(3 * PROMISED)
    story.look("after")
    story.nap()


def without(story, other):
    """other: the run of the world with keeping, which has the machine for itself in the morning."""
    live_through(story)
    wait_until("the sender to back off", story.ledger.backoff, 60)
    story.look("asleep")
    other.result()
    story.wake()
    story.gather(PROMISED)
    story.look("after")


@pytest.fixture(scope="session")
def nights(request):
    """{"with": Story, "without": Story}, both over but for the doors, which still run."""
    request.config.sleep_lines = lines = []
    began = time.monotonic()

    def make(name, network, sleep):
        def say(line):
            lines.append(f"{time.monotonic() - began:5.1f} s  {name} keeping: {line}")
        folder = os.path.join(ROOT, "build", "interop", f"sleep-{name}")
        return Story(World(folder, network=network, sleep=sleep), name, say)

    stories = {"with": make("with", "127.25", KEEPS), "without": make("without", "127.26", {"sleeps": "0"})}
    # Children die with the thread that started them, so these two stay to the end.
    with ThreadPoolExecutor(2) as threads:
        try:
            request.config.sleep_stories = stories
            kept = threads.submit(keeping, stories["with"])
            threads.submit(without, stories["without"], kept).result()
            yield stories
        finally:
            for story in stories.values():
                story.stop()


def pytest_terminal_summary(terminalreporter, config):
    for line in getattr(config, "sleep_lines", []):
        terminalreporter.write_line(line)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    if not report.failed:
        return
    for story in getattr(item.config, "sleep_stories", {}).values():
        for domain in story.world.domains:
            report.sections.append((f"doorstep of {domain.server_name}, {story.name} keeping",
                                    domain.door.process.last_words(25)))


@pytest.fixture(scope="session")
def kept(nights):
    return nights["with"]


@pytest.fixture(scope="session")
def lost(nights):
    return nights["without"]
