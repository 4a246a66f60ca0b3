"""What was acknowledged survives an upgrade of the firmware, or the upgrade is refused."""

import os
import shutil
import subprocess

import pytest

from router import Router, make
from support.process import clean_env
from test_init import config, home  # noqa: F401 (a fixture)

STATE = "/srv/doorstep"
EXPORT = "/etc/doorstep/queue.export"


@pytest.fixture(scope="session")
def driver():
    """Puts items into a queue, without a network."""
    path = os.path.join(os.path.dirname(__file__), "..", "..", "build", "debug", "tests", "queue_fill")
    assert os.access(path, os.X_OK), "scripts/test builds it"
    return os.path.abspath(path)


@pytest.fixture
def door(home):  # noqa: F811
    home.write("/etc/config/doorstep", config(main=f"\toption state_dir '{STATE}'\n",
                                              homeserver="\toption sleeps '1'\n"), 0o600)
    shutil.copy(os.path.join(os.path.dirname(__file__), "router", "sysupgrade"), home.path("sbin/sysupgrade"))
    keep = [line for line in make("conffiles").split() if line.endswith("/")]
    home.write("/lib/upgrade/keep.d/doorstep", "\n".join(keep) + "\n")
    home.service("enable")
    assert home.service("start").status == 0
    assert home.calls("procd_open_instance"), home.log()
    return home


def fill(router, driver, *bodies):
    subprocess.run([driver, router.path(STATE), *map(str, bodies)], check=True, env=clean_env())


def count(router):
    return int(router.run("doorstep", "queue", "count", "--state-dir", STATE).out)


def upgrade(router, *words):
    for name in ("/tmp/procd", "/tmp/log"):
        if router.exists(name):
            os.remove(router.path(name))
    return router.run("/sbin/sysupgrade", *words)


def flashed(router):
    return router.exists("/tmp/flashed")


def reborn(router, program):
    """The same router with a new image: only what was kept is still there."""
    fresh = Router(router.root + "-reborn", program)
    for name in router.read("/tmp/kept").split():
        mode = os.stat(router.path(name)).st_mode & 0o7777
        with open(router.path(name), "rb") as file:
            fresh.write(name, file.read(), mode)
    for folder in ("etc/acme", "etc/ssl"):
        shutil.copytree(router.path(folder), fresh.path(folder), symlinks=True, dirs_exist_ok=True)
    return fresh


def test_deliveries_travel_along(door, driver, program):
    fill(door, driver, 10, 100000, 3)
    done = upgrade(door, "/tmp/firmware.bin")
    assert done.status == 0 and flashed(door), done
    assert door.calls("procd_kill"), "nothing may be acknowledged after the export"
    assert EXPORT in door.read("/tmp/kept").split() and "/etc/doorstep/outbound.secret" in door.read("/tmp/kept").split()
    assert door.rights(EXPORT) == "0600 root root"
    fresh = reborn(door, program)
    assert not fresh.exists(STATE) and fresh.exists(EXPORT)
    fresh.service("start")
    assert fresh.calls("procd_open_instance"), fresh.log()
    assert not fresh.exists(EXPORT)
    assert count(fresh) == 3
    for folder, _, names in os.walk(fresh.path(STATE)):
        for name in names:
            path = os.path.join(folder, name)[len(fresh.root):]
            assert fresh.rights(path).endswith("doorstep doorstep"), path


def test_an_empty_queue_is_no_hindrance(door, driver):
    fill(door, driver)
    done = upgrade(door, "/tmp/firmware.bin")
    assert done.status == 0 and flashed(door)
    assert EXPORT not in door.read("/tmp/kept")


def test_no_queue_at_all(door):
    done = upgrade(door, "/tmp/firmware.bin")
    assert done.status == 0 and flashed(door) and not door.calls("procd_kill")


def test_too_much_is_refused_with_a_sentence(door, driver):
    fill(door, driver, 4000000, 4000000)
    done = upgrade(door, "/tmp/firmware.bin")
    assert done.status == 1 and not flashed(door)
    assert "2 items need 7.6 MiB, more than the 4096 KiB allowed" in done.err and "doorstep queue list" in done.err
    assert not door.exists(EXPORT)
    assert door.calls("procd_open_instance"), "it goes on running"
    assert count(door) == 2


@pytest.mark.parametrize("available, size, allowed", [
    (8000, 10000, 2000), (8000, 6000, 1500), (1000, 100000, 250), (100000, 100000, 4096), (8000, 0, 2000)])
def test_how_much_is_allowed(door, available, size, allowed):
    """A quarter of free memory and of the flash, 4 MiB at most."""
    done = door.run("sh", "-c", f"""
        . /lib/upgrade/doorstep.sh
        df() {{ echo Filesystem 1K-blocks Used Available Use% Mounted; echo fs {size} 1000 {available} 10% /; }}
        doorstep_room""")
    assert int(done.out) == allowed, done


def test_without_kept_configuration_it_is_refused(door, driver):
    fill(door, driver, 10, 10)
    for words in (["-n"], ["-f", "/tmp/other.tar.gz"]):
        done = upgrade(door, *words, "/tmp/firmware.bin")
        assert done.status == 1 and not flashed(door) and "2 deliveries wait" in done.err, done
    assert upgrade(door, "-F", "-n", "/tmp/firmware.bin").status == 0  # whoever insists


def test_without_kept_configuration_and_without_deliveries(door, driver):
    fill(door, driver)
    assert upgrade(door, "-n", "/tmp/firmware.bin").status == 0 and flashed(door)


@pytest.mark.parametrize("words", [["-l"], ["-b", "/tmp/backup.tar.gz"], ["-T", "/tmp/firmware.bin"]])
def test_looking_and_backing_up_disturb_nobody(door, driver, words):
    fill(door, driver, 10)
    done = upgrade(door, *words)
    assert done.status == 0 and not flashed(door)
    assert door.calls() == [] and not door.exists(EXPORT) and count(door) == 1


def test_a_disk_of_its_own_survives_anyway(door, driver):
    fill(door, driver, 10)
    door.write("/proc/mounts", f"overlayfs:/overlay / overlay rw 0 0\n/dev/sda1 {STATE} ext4 rw 0 0\n")
    assert upgrade(door, "/tmp/firmware.bin").status == 0 and flashed(door)
    assert not door.exists(EXPORT) and not door.calls("procd_kill")


def test_what_was_not_imported_is_not_written_over(door, driver):
    fill(door, driver, 10)
    door.write(EXPORT, "damaged")
    door.service("start")
    assert "is still in " + EXPORT in door.log() and door.calls("procd_open_instance")
    assert door.read(EXPORT) == "damaged"
    done = upgrade(door, "/tmp/firmware.bin")
    assert done.status == 1 and not flashed(door) and "was not imported yet" in done.err


def test_an_interrupted_upgrade_changes_nothing(door, driver):
    """Exported, but never flashed: the next start finds everything there already."""
    fill(door, driver, 10, 20)
    assert upgrade(door, "/tmp/firmware.bin").status == 0
    door.service("start")
    assert count(door) == 2 and not door.exists(EXPORT)


# ---- the verbs ----

def test_export_waits_for_a_doorstep_that_ends(door, driver):
    fill(door, driver, 10)
    holder = subprocess.Popen([driver, "--hold", "1500", door.path(STATE)], env=clean_env())
    try:
        while not door.exists("/srv/doorstep/held"):
            pass
        assert door.run("doorstep", "queue", "export", "--state-dir", STATE, "/tmp/x").status == 1
        done = door.run("doorstep", "queue", "export", "--state-dir", STATE, "--wait", "30", "/tmp/x")
        assert done.status == 0 and "1 items, 0 of them parked" in done.out, done
    finally:
        holder.wait(30)


def test_usage(door):
    for words in (["export", "/tmp/x"], ["import", "/tmp/x"], ["export", "--state-dir", STATE],
                  ["export", "--state-dir", STATE, "--max-kib", "x", "/tmp/x"],
                  ["export", "--state-dir", STATE, "--config", "/etc/config/doorstep", "/tmp/x"]):
        assert door.run("doorstep", "queue", *words).status == 2, words
    done = door.run("doorstep", "queue", "import", "--state-dir", STATE, "/tmp/absent")
    assert done.status == 1 and "No such file" in done.err
    done = door.run("doorstep", "queue", "export", "--config", "/etc/config/doorstep", "/tmp/x")
    assert done.status == 0 and "nothing is kept" in done.out
