"""Mistakes at the start: one understandable line each, with what to do, and nothing left running."""

import os
import subprocess

import pytest

from remote import synapse
from support.door import uci
from support.process import clean_env
from talk import get


@pytest.fixture
def fail(world, home):
    """Starts a door that cannot start; (exit status, what it printed)."""
    def fail(sections=None, change=lambda text: text):
        door = world.door(sections or world.sections(home, host=70), start=False)
        with open(door.config, encoding="utf-8") as lines:
            text = change(lines.read())
        door.write_text(text)
        done = door.run("serve", "--config", door.config, seconds=20)
        world.doors.remove(door)
        return done.returncode, done.stdout + done.stderr
    return fail


def one_line(result, *words):
    """Exit status 1 and one line that contains the words."""
    status, text = result
    lines = [line for line in text.splitlines() if line.strip()]
    assert status == 1, text
    assert len(lines) == 1, text
    for word in words:
        assert word in lines[0], f"{word!r} in {lines[0]!r}"
    return lines[0]


def test_unknown_option_suggests_the_right_one(fail):
    line = one_line(fail(change=lambda text: text.replace("option port", "option prot")), "prot", "port")
    assert "doorstep.conf:" in line or "line" in line


def test_unknown_section(fail):
    one_line(fail(change=lambda text: text.replace("config listen 'port443'", "config lsten 'port443'")), "lsten", "listen")


@pytest.mark.parametrize("old, new, word", [
    ("option port '443'", "option port '70000'", "70000"), ("option port '443'", "option port 'https'", "https"),
    ("option enabled '1'", "option enabled 'maybe'", "maybe"),
    ("option url 'http://", "option url 'gopher://", "gopher"),
    ("option memory_class '64'", "option memory_class '65'", "65"),
    ("list expose 'federation'", "list expose 'everything'", "everything"),
    ("option homeserver 'nas'", "option homeserver 'nsa'", "nsa"),
    ("option server_name 'example.org'", "option server_name 'example org'", "example org"),
])
def test_bad_values(fail, old, new, word):
    one_line(fail(change=lambda text: text.replace(old, new, 1)), word)


def test_not_uci(fail):
    one_line(fail(change=lambda text: "server { listen 443; }\n"))


def test_no_file(world, home):
    door = world.door(world.sections(home, host=70), start=False)
    world.doors.remove(door)
    done = door.run("serve", "--config", "/nowhere/doorstep.conf")
    one_line((done.returncode, done.stdout + done.stderr), "/nowhere/doorstep.conf")


def test_key_that_does_not_match(fail, world, home):
    one, other = world.authority.issue("example.org"), world.authority.issue("example.org")
    sections = world.sections(home, host=70, domain=world.domain(certificate=[one.chain], key=[other.key]))
    one_line(fail(sections), other.key, "certificate")


def test_key_that_is_not_there(fail, world, home):
    sections = world.sections(home, host=70, domain=world.domain(key=["/nowhere/key.pem"]))
    one_line(fail(sections), "/nowhere/key.pem")


def test_key_that_is_not_one(fail, world, home):
    bad = world.write("bad.key", "no key\n")
    one_line(fail(world.sections(home, host=70, domain=world.domain(key=[bad]))), bad)


def test_key_that_may_not_be_read(world, home):
    """As somebody else than root."""
    certificate = world.authority.issue("example.org")
    os.chmod(certificate.key, 0o600)
    os.chmod(world.directory, 0o755)
    door = world.door(world.sections(home, host=70, domain=world.domain(files=certificate)), start=False)
    world.doors.remove(door)
    done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--",
                           door.program, "serve", "--config", door.config], capture_output=True, text=True,
                          check=False, env=clean_env(), timeout=20)
    one_line((done.returncode, done.stdout + done.stderr), certificate.key, "ermission")


def test_certificate_that_is_a_key(fail, world, home):
    certificate = world.authority.issue("example.org")
    sections = world.sections(home, host=70, domain=world.domain(certificate=[certificate.key]))
    one_line(fail(sections), certificate.key)


def test_no_authorities(fail, world, home):
    sections = world.sections(home, world.outbound(f"{world.address(70)}:8009"), host=70,
                              main={"ca_file": "/nowhere/ca.pem"})
    one_line(fail(sections), "/nowhere/ca.pem")


def test_no_secret(fail, world, home):
    sections = world.sections(home, world.outbound(f"{world.address(70)}:8009", secret_file="/nowhere/secret"), host=70)
    one_line(fail(sections), "/nowhere/secret")


def test_port_in_use(fail, world, home):
    taken = world.server((71, 8448))
    sections = world.sections(home, host=71)
    one_line(fail(sections), world.address(71), "8448", "in use")
    taken.close()


def test_address_that_is_not_ours(fail, world, home):
    sections = [*world.sections(home, host=70), ("listen", "far", {"address": "203.0.113.1", "port": "8448"})]
    one_line(fail(sections), "203.0.113.1")


def test_two_sections_for_one_port(fail, world, home):
    sections = [*world.sections(home, host=70), ("listen", "again", {"address": world.address(70), "port": "443"})]
    status, text = fail(sections)
    assert status == 1 and "443" in text


def test_outbound_port_in_use(fail, world, home):
    taken = world.server((72, 8009))
    sections = world.sections(home, world.outbound(f"{world.address(72)}:8009"), host=72)
    one_line(fail(sections), world.address(72), "8009", "in use")
    taken.close()


def test_homeserver_that_refuses(world, own_door):
    """The door opens all the same and says once what to look at, and once that it is over."""
    where = (99, 8008)
    door = own_door(world.sections(f"http://{world.address(99)}:8008", host=73))
    peer = world.peer(host=73)
    for _ in range(3):
        assert peer.ask(get()).status == 503
    line, = [line for line in door.child.log_text().splitlines() if "homeserver.away" in line]
    for word in (f"{world.address(99)}:8008", "refuses connections", "running", "warn"):
        assert word in line
    world.server(where)
    for _ in range(3):
        assert peer.ask(get()).status == 200
    assert door.child.log_text().count("answers again") == 1


def test_disabled_says_so(world, home):
    door = world.door(world.sections(home, host=70, main={"enabled": "0"}), start=False)
    world.doors.remove(door)
    done = door.run("serve", "--config", door.config)
    text = done.stdout + done.stderr
    assert done.returncode == 0 and len(text.strip().splitlines()) == 1 and "enabled" in text


def test_config_check_says_the_same(world, home):
    door = world.door(world.sections(home, host=70), start=False)
    world.doors.remove(door)
    assert door.run("config", "check", door.config).returncode == 0
    with open(door.config, encoding="utf-8") as lines:
        door.write_text(lines.read().replace("option port '443'", "option prot '443'"))
    done = door.run("config", "check", door.config)
    assert done.returncode == 1 and "prot" in done.stdout + done.stderr


def test_outbound_only_is_valid(world, own_door):
    door = own_door([world.main(), ("outbound", "lan", {
        "mode": "matrix-federation", "listen": f"{world.address(74)}:8009", "secret_file": world.secret_file})])
    assert world.plain_peer(host=74).ask(synapse("nowhere.example")).status == 502
    world.close_peers()
    door.settle()


@pytest.mark.parametrize("words, status", [
    (["--help"], 0), (["--version"], 0), (["serve", "--help"], 0), (["status", "--help"], 0), (["resolve", "--help"], 0),
    (["config", "--help"], 0), (["config", "check", "--help"], 0), (["config", "show", "--help"], 0),
    ([], 2), (["frobnicate"], 2), (["serve", "--frobnicate"], 2), (["status", "--socket", "/nowhere/sock"], 1),
    (["config", "check", "/nowhere/conf"], 1)])
def test_words(world, home, words, status):
    door = world.door(world.sections(home, host=70), start=False)
    world.doors.remove(door)
    done = door.run(*words)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stdout or done.stderr


def test_everything_in_the_written_form_is_read(world):
    """The helper of these tests writes what the program reads."""
    text = uci([("listen", "x", {"port": "1", "address": None})])
    assert text == "config listen 'x'\n\toption port '1'\n"
