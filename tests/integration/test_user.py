"""`serve --user`: ports first, then no privileges; and refusals before anything is opened."""

import os
import pwd
import subprocess

import pytest

from support.door import executable
from support.process import clean_env


def serve(door, *words):
    return subprocess.run([executable(), "serve", "--config", door.config, *words], capture_output=True, text=True,
                          timeout=30, check=False, env=clean_env(), stdin=subprocess.DEVNULL)


@pytest.fixture
def quiet_door(world, home):
    """Configured, not started."""
    door = world.door(world.sections(home, host=9), start=False)
    world.doors.remove(door)  # there is nothing to stop
    return door


@pytest.mark.parametrize("name, words", [("nobody-of-that-name", "there is no user"), ("root", "is root")])
def test_users_that_will_not_do(quiet_door, name, words):
    done = serve(quiet_door, "--user", name)
    assert done.returncode == 1 and words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_only_root_can_become_somebody(quiet_door):
    user = pwd.getpwnam("nobody").pw_uid
    done = subprocess.run(["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", executable(), "serve",
                           "--config", quiet_door.config, "--user", "daemon"], capture_output=True, text=True,
                          timeout=30, check=False, env=clean_env())
    assert done.returncode == 1 and "only root can become" in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_what_cannot_be_read_any_more_is_said(world, quiet_door):
    """The certificates are root's: loading them comes after the ports, so this does not start."""
    os.chmod(world.directory, 0o711)
    os.chmod(quiet_door.directory, 0o777)
    os.chmod(quiet_door.config, 0o600)
    done = serve(quiet_door, "--user", "nobody")
    assert done.returncode == 1
    assert "going on as 'nobody'" in done.stderr and "cannot read " + quiet_door.config in done.stderr
    assert done.stderr.count("serve.start") == 1
