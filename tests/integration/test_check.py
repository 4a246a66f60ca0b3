"""`doorstep check`: each thing that can be in the way, made for real, and what is said about it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time

import pytest

from support.door import executable, release_executable, uci
from support.namespace import Network, NoNamespaces
from support.process import clean_env, wait_until

VERSION = b'{"server":{"name":"Scripted","version":"1.2"}}'


def answer(status, body):
    def script(exchange):
        exchange.respond(status, body)
    return script


class Findings:
    def __init__(self, run):
        self.status, self.err = run.returncode, run.stderr
        self.document = json.loads(run.stdout)

    def of(self, topic, level=None):
        """The sentences of a topic."""
        return [f["text"] for f in self.document["findings"]
                if f["topic"] == topic and level in (None, f["level"])]

    def one(self, topic, level):
        texts = self.of(topic)
        assert len(texts) == 1 and self.of(topic, level) == texts, self.document
        return texts[0]


def check(config, *before, program=None, env=None, json_too=True):
    argv = [*before, program or executable(), "check", "--config", config, *(["--json"] if json_too else [])]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=env or clean_env(),
                         stdin=subprocess.DEVNULL)
    return Findings(run) if json_too else run


@pytest.fixture
def configured(world, home):
    """configured(sections...) writes a configuration that no process serves."""
    def write(*extra, main=None, homeserver=None, host=7):
        sections = world.sections(homeserver or home, *extra, host=host, main={"enabled": "1", **(main or {})})
        door = world.door(sections, start=False)
        world.doors.remove(door)
        return door.config
    return write


# ---- the process ----

def test_usage():
    for words, status in (([], 2), (["--config"], 2), (["--config", "/nowhere", "x"], 2), (["--help"], 0)):
        run = subprocess.run([executable(), "check", *words], capture_output=True, text=True, check=False)
        assert run.returncode == status, words


def test_lines_for_people(configured):
    run = check(configured(), json_too=False)
    lines = run.stdout.splitlines()
    assert lines[0].startswith("ok       clock")
    assert all(line.split()[0] in ("ok", "warning", "problem") for line in lines[:-1])
    assert "problems" in lines[-1] and run.returncode == 1  # the names of this network lead nowhere


def test_a_configuration_with_a_mistake(tmp_path):
    path = tmp_path / "doorstep"
    path.write_text("config doorstep 'main'\n\toption enabld '1'\n")
    found = check(str(path))
    assert found.status == 1
    assert "enabld" in found.one("configuration", "problem") and f"{path}:2" in found.one("configuration", "problem")
    assert found.document["problems"] == 1 and not found.of("port")


def test_without_configuration(tmp_path):
    found = check(str(tmp_path / "absent"))
    assert found.status == 1 and "No such file" in found.one("configuration", "problem")


def test_switched_off(configured):
    assert "enabled '0'" in check(configured(main={"enabled": "0"})).of("configuration", "warning")[0]


# ---- clock ----

SHIM = """
#include <time.h>
time_t time(time_t *t) { if (t) *t = 86400; return 86400; }
"""


def test_a_clock_that_is_not_set(configured, tmp_path):
    source, shim = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(shim), str(source)], check=True)
    found = check(configured(), program=release_executable(), env={**clean_env(), "LD_PRELOAD": str(shim)})
    assert "1970-01-02" in found.one("clock", "problem") and "time server" in found.one("clock", "problem")


# ---- state_dir ----

def test_state_dir_in_memory(configured):
    sleeps = ("homeserver", "other", {"url": "http://127.0.0.1:9", "sleeps": "1"})
    found = check(configured(sleeps, main={"state_dir": "/dev/shm/doorstep-check"}))
    assert "is in memory" in found.one("state_dir", "problem")
    assert not os.path.exists("/dev/shm/doorstep-check")


def test_state_dir_on_a_disk(configured, world):
    text = check(configured(main={"state_dir": world.path("state", "deeper")})).of("state_dir")
    assert len(text) == 1 and "free" in text[0]
    assert not os.path.exists(world.path("state"))


def test_no_state_dir_for_a_sleeper(configured):
    sleeps = ("homeserver", "other", {"url": "http://127.0.0.1:9", "sleeps": "1"})
    assert "is not set" in check(configured(sleeps)).one("state_dir", "problem")


def test_no_state_dir_and_none_needed(configured):
    assert check(configured()).of("state_dir") == []


# ---- ports ----

def test_free_ports(configured):
    texts = check(configured()).of("port", "ok")
    assert len(texts) == 2 and all("is free" in text for text in texts)


def test_ports_of_the_running_one(world, door):
    texts = check(door.config).of("port")
    assert texts and all(text.startswith("doorstep listens on") for text in texts)


def test_a_port_of_somebody_else(world, configured):
    with socket.create_server((world.address(7), 8448)):
        texts = check(configured()).of("port", "problem")
    with open(f"/proc/{os.getpid()}/comm", encoding="utf-8") as comm:
        name = comm.read().strip()
    assert len(texts) == 1 and f"in use by '{name}'" in texts[0] and f"{world.address(7)}:8448" in texts[0]


def test_somebody_on_all_addresses_is_in_the_way_too(world, configured):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = str(other.getsockname()[1])
        listen = ("listen", "more", {"address": world.address(7), "port": port})
        assert any("in use" in text for text in check(configured(listen)).of("port", "problem"))


def test_a_port_of_luci(world, configured, tmp_path):
    uhttpd = tmp_path / "uhttpd"
    uhttpd.symlink_to(os.path.realpath(sys.executable))
    code = (f"import socket, time; s = socket.create_server(('{world.address(7)}', 443)); "
            "print('listening', flush=True); time.sleep(60)")
    child = subprocess.Popen([str(uhttpd), "-S", "-c", code], stdout=subprocess.PIPE, text=True,
                             env={**clean_env(), "PYTHONHOME": sys.base_prefix})
    try:
        assert child.stdout.readline() == "listening\n"
        texts = check(configured()).of("port", "problem")
        assert len(texts) == 1 and "uhttpd (LuCI)" in texts[0] and "listen_https" in texts[0]
    finally:
        child.kill()
        child.wait()


def test_an_outbound_address_that_is_not_here(world, configured):
    texts = check(configured(world.outbound("192.0.2.9:8009"))).of("port", "problem")
    assert len(texts) == 1 and "192.0.2.9" in texts[0] and "outbound 'lan'" in texts[0]


# ---- homeserver ----

def test_a_homeserver_that_answers(home, configured):
    home.script = answer(200, VERSION)
    found = check(configured())
    assert found.one("homeserver", "ok").endswith("answers: Scripted 1.2")
    assert home.take()[0].target == b"/_matrix/federation/v1/version"


def test_a_homeserver_without_federation(home, configured):
    home.script = answer(404, b"{}")
    found = check(configured())
    assert "answers 404" in found.one("homeserver", "warning")
    home.take()


def test_a_homeserver_that_is_not_there(world, configured):
    found = check(configured(homeserver=f"http://{world.address(66)}:8008"))
    assert "refused" in found.one("homeserver", "problem") and "bind_addresses" in found.one("homeserver", "problem")


def test_a_homeserver_that_may_be_off(world, configured):
    found = check(configured(homeserver=f"http://{world.address(66)}:8008", main={"state_dir": world.path("kept")}))
    assert "is kept" in found.one("homeserver", "warning")


def test_a_homeserver_of_an_unknown_name(world, configured):
    found = check(configured(homeserver="http://nas.example:8008"))
    assert "nas.example" in found.one("homeserver", "problem") and "option url" in found.one("homeserver", "problem")


# ---- the line and the names, on a router of their own ----

@pytest.fixture(scope="module")
def network():
    try:
        with Network() as made:
            yield made
    except NoNamespaces as error:
        pytest.skip(str(error))


class Box:
    """A router in a namespace: addresses, a default route, dnsmasq."""

    def __init__(self, network, world, name, wan, lan="192.168.1.1/24"):
        self.ns, self.world = network.namespace(name), world
        for interface, addresses in (("wan", wan), ("lan", [lan])):
            self.ns.ip("link", "add", interface, "type", "veth", "peer", "name", interface + "-far")
            self.ns.ip("link", "set", interface + "-far", "up")
            self.ns.ip("link", "set", interface, "up")
            for address in addresses:
                more = ["nodad"] if ":" in address else []
                self.ns.ip("address", "add", address, "dev", interface, *more)
        if any("." in address for address in wan):
            self.ns.ip("route", "add", "default", "dev", "wan")

    def dnsmasq(self, address, *options):
        child = self.ns.start([shutil.which("dnsmasq") or "/usr/sbin/dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
                               "--no-hosts", "--no-resolv", "--user=root", "--pid-file=", "--bind-interfaces",
                               f"--listen-address={address}", *options], stderr=subprocess.DEVNULL)
        wait_until("dnsmasq", lambda: self.listens(address))
        return child

    def listens(self, address):
        run = subprocess.run(["ip", "netns", "exec", self.ns.name, "ss", "-Hlun"], capture_output=True, text=True,
                             check=False, env=clean_env())
        return f"{address}:53 " in run.stdout

    def check(self, names=("example.org",), **domain):
        certificate = self.world.certificate(*names, "matrix.example.org")
        sections = [("doorstep", "main", {"enabled": "1", "dns": "127.0.0.1:53", "ca_file": self.world.authority.file}),
                    ("domain", "home", {"server_name": "example.org", "homeserver": "nas",
                                        "certificate": [certificate.chain], "key": [certificate.key], **domain}),
                    ("homeserver", "nas", {"url": "http://192.168.1.1:9"}), ("listen", "federation", {"port": "8448"})]
        return check(self.world.write(f"check-{time.monotonic_ns()}", uci(sections)), "ip", "netns", "exec", self.ns.name)


@pytest.fixture
def box(network, world):
    made = []

    def make(*wan, **more):
        made.append(Box(network, world, f"r{len(network.namespaces)}", wan, **more))
        return made[-1]
    yield make
    for each in made:
        network.namespaces.remove(each.ns)
        each.ns.close()


def test_a_public_line_and_a_name_that_leads_here(box):
    router = box("203.0.114.5/24", "2a01:4f8::5/64")
    router.dnsmasq("127.0.0.1", "--host-record=example.org,203.0.114.5,2a01:4f8::5")
    found = router.check()
    assert found.one("line", "ok") == "public IPv4 address 203.0.114.5, and IPv6"
    assert "example.org leads here" in found.one("name", "ok")


def test_behind_another_router(box):
    router = box("192.168.178.20/24")
    router.dnsmasq("127.0.0.1", "--host-record=example.org,203.0.114.5")
    found = router.check()
    text = found.one("line", "warning")
    assert "192.168.178.20" in text and "forward TCP port 8448" in text
    assert "the router in front" in found.one("name", "ok")


def test_behind_the_providers_nat(box):
    router = box("100.72.3.4/24")
    router.dnsmasq("127.0.0.1", "--host-record=example.org,203.0.114.5")
    found = router.check()
    assert "CGNAT" in found.one("line", "problem") and "leads nowhere" in found.one("name", "problem")


def test_ds_lite_with_ipv6(box):
    router = box("192.0.0.2/29", "2a01:4f8::5/64")
    router.dnsmasq("127.0.0.1", "--host-record=example.org,2a01:4f8::5")
    found = router.check()
    assert "DS-Lite" in found.one("line", "warning") and "IPv6 alone" in found.one("line", "warning")
    assert "leads here" in found.one("name", "ok")


def test_an_old_address_in_dns(box):
    router = box("203.0.114.5/24")
    router.dnsmasq("127.0.0.1", "--host-record=example.org,203.0.114.99")
    text = router.check().one("name", "problem")
    assert "203.0.114.99" in text and "203.0.114.5" in text and "correct the record" in text


def test_one_address_too_many(box):
    router = box("203.0.114.5/24")
    router.dnsmasq("127.0.0.1", "--host-record=example.org,203.0.114.5,2a01:4f8::99")
    assert "2a01:4f8::99" in router.check().one("name", "warning")


def test_a_name_that_does_not_exist(box):
    router = box("203.0.114.5/24")
    router.dnsmasq("127.0.0.1", "--local=/org/")
    assert "no address" in router.check().one("name", "problem")


def test_rebind_protection_and_its_remedy(box):
    """Real dnsmasq, protecting as OpenWrt's does, in front of a server that gives a private address."""
    router = box("203.0.114.5/24")
    router.dnsmasq("127.0.0.2", "--host-record=example.org,192.168.1.1")
    protector = router.dnsmasq("127.0.0.1", "--server=127.0.0.2", "--stop-dns-rebind")
    text = router.check().one("name", "problem")
    assert "rebind_domain='example.org'" in text
    protector.kill()
    protector.wait()
    router.dnsmasq("127.0.0.1", "--server=127.0.0.2", "--stop-dns-rebind", "--rebind-domain-ok=example.org")
    assert "leads here (192.168.1.1)" in router.check().one("name", "ok")


def test_split_dns_that_leads_past_the_router(box):
    router = box("203.0.114.5/24")
    router.dnsmasq("127.0.0.1", "--host-record=example.org,192.168.1.77")
    assert "192.168.1.77" in router.check().one("name", "warning")


def test_a_delegated_domain_may_live_elsewhere(box):
    router = box("203.0.114.5/24")
    router.dnsmasq("127.0.0.1", "--host-record=example.org,198.51.101.1", "--host-record=matrix.example.org,203.0.114.5")
    found = router.check(delegate="matrix.example.org:8448")
    texts = found.of("name", "ok")
    assert len(texts) == 2 and ".well-known/matrix/server" in texts[0] and "matrix.example.org leads here" in texts[1]


def test_a_resolver_that_is_silent(box):
    router = box("203.0.114.5/24")
    assert "DNS says nothing" in router.check().one("name", "problem")
