"""docs/homeserver/doorstep-sleep, the hook for suspend on the homeserver's machine, with a door."""

import os
import shutil
import subprocess
import time

import pytest

from remote import synapse
from support.door import ROOT
from support.process import wait_until
from test_control_queue import House
from test_sleeping import answer_all

HOOK = os.path.join(ROOT, "docs", "homeserver", "doorstep-sleep")
ODD_SECRET = "a\\b\"c'd$e`f%s"

if not shutil.which("curl"):
    pytest.skip("no curl", allow_module_level=True)


@pytest.fixture
def house(world, home, own_door, request):
    home.script = answer_all
    state = world.path("hook-" + request.node.name[:20])
    os.makedirs(state, exist_ok=True)
    made = House(world, home, own_door, state, homeserver={"sleep_grace": "1h"})
    made.start(asleep=False)
    made.wait_awake()
    yield made
    world.close_peers()


@pytest.fixture
def hook(world, house, tmp_path):
    def hook(word, **settings):
        settings = {"URL": f"http://{world.address(1)}:8009", "SECRET": world.secret_file, "WAIT": "20", **settings}
        path = tmp_path / "settings"
        path.write_text("".join(f"DOORSTEP_{name}='{value}'\n" for name, value in settings.items()))
        began = time.monotonic()
        done = subprocess.run(["sh", HOOK, *([word] if word else [])], capture_output=True, text=True, timeout=60,
                              check=False, env={**os.environ, "DOORSTEP_SETTINGS": str(path)})
        assert done.stdout == "" or word is None, done
        assert done.returncode == (0 if word in ("pre", "post") else 2), done
        return done.stderr, time.monotonic() - began
    return hook


def says_something(house):
    """An event, for which others come back."""
    with house.world.plain_peer() as peer:
        peer.ask(synapse("nobody.test", "/_matrix/federation/v1/send/1", method="PUT", body=b"{}"))


def test_there_and_back(house, hook):
    assert hook("pre")[0] == ""
    own = house.own()
    assert (own["state"], own["why"]) == ("asleep", "announced")
    assert hook("post")[0] == ""
    house.wait_awake()


def test_it_does_not_wait_for_ever(house, hook):
    says_something(house)
    text, took = hook("pre", WAIT="2")
    assert "put off for 2 s (sending)" in text and "not waiting any longer" in text, text
    assert took >= 2
    assert house.own()["state"] == "asleep"


def test_it_waits(house, hook):
    house.sections[2][2]["sleep_grace"] = "0"
    house.door.write_config(house.sections)
    house.door.reload()
    says_something(house)
    text, _ = hook("pre", WAIT="40")
    assert "put off for" in text and "not waiting any longer" not in text, text
    assert house.own()["state"] == "asleep"


@pytest.mark.parametrize("settings, complaint", [
    ({"SECRET": "/nonexistent"}, "/nonexistent cannot be read"),
    ({"SECRET": ""}, "does not accept the secret"),
    ({"SECRET": HOOK}, "does not accept the secret"),
    ({"URL": "http://127.0.0.1:9"}, "does not answer at http://127.0.0.1:9"),
], ids=["no-file", "none", "wrong", "nobody"])
def test_it_gives_up(house, hook, settings, complaint):
    text, _ = hook("pre", **settings)
    assert complaint in text
    assert house.own()["state"] == "awake"


def test_wrong_word(hook):
    assert "usage" in hook("hibernate")[0]


def test_unix_socket_and_odd_secret(world, home, own_door, hook):
    socket = world.path("hook.sock")
    secret = world.write("odd-secret", ODD_SECRET + "\n", 0o600)
    os.makedirs(world.path("hook-unix"), exist_ok=True)
    house = House(world, home, own_door, world.path("hook-unix"))
    house.sections[3:] = [world.outbound("unix:" + socket, secret_file=secret)]
    house.start(asleep=False)
    assert hook("pre", URL="http://doorstep", SOCKET=socket, SECRET=secret)[0] == ""
    assert house.own()["state"] == "asleep"
