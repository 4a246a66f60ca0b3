"""SIGHUP: a new configuration is taken over as a whole, or not at all, and nobody notices."""

import datetime
import os
import shutil
import subprocess
import threading

import pytest

from support.process import wait_until
from remote import Remote, synapse
from talk import VERSION, get


@pytest.fixture
def door(world, home, own_door):
    return own_door(world.sections(home))


class Load:
    """Peers that ask all the time, on kept and on new connections."""

    def __init__(self, world, count=3):
        self.world, self.stop, self.answers, self.errors = world, threading.Event(), [], []
        self.threads = [threading.Thread(target=self.run, args=(number % 2,)) for number in range(count)]

    def run(self, keep):
        peer = None
        while not self.stop.is_set():
            try:
                if not peer or not keep:
                    peer = self.world.peer()
                response = peer.ask(get())
                self.answers.append(response.status)
                if response.get("connection") == b"close":
                    peer = None
            except Exception as error:  # pylint: disable=broad-except
                self.errors.append(repr(error))
                peer = None

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def more(self, count=20):
        have = len(self.answers)
        wait_until("answers", lambda: len(self.answers) >= have + count or self.errors, 30)

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def serial(peer):
    return peer.sock.getpeercert()["serialNumber"]


def test_under_load_without_a_failed_request(world, door, home):
    assert world.peer().ask(get()).status == 200
    files = door.open_files()  # one connection of a peer, one to the homeserver
    with Load(world) as load:
        for number in range(10):
            door.write_config(world.sections(home, limits={"idle_timeout": f"{20 + number}s"}))
            load.more(5)
            door.reload()
        load.more()
    assert load.errors == [] and set(load.answers) == {200}
    world.close_peers()
    home.drop_connections()
    wait_until("descriptors to be given back", lambda: door.open_files() <= files)


def test_renewed_certificate(world, home, own_door):
    """New files under the same names; connections go on with what they began with."""
    chain, key = world.path("renew.pem"), world.path("renew.key")

    def renew():
        new = world.authority.issue("example.org")
        shutil.copy(new.chain, chain + ".new")
        shutil.copy(new.key, key + ".new")
        os.replace(key + ".new", key)
        os.replace(chain + ".new", chain)

    renew()
    door = own_door(world.sections(home, host=50, domain=world.domain(certificate=[chain], key=[key])))
    old = world.peer(host=50)
    before = serial(old)
    assert old.ask(get()).status == 200
    renew()
    door.reload()
    assert serial(world.peer(host=50)) != before
    assert old.ask(get()).status == 200


@pytest.mark.parametrize("spoil", [
    lambda text: text + "\nconfig listen 'x'\n\toption prot '1'\n",
    lambda text: text.replace("option port '443'", "option port '44300000'"),
    lambda text: text.replace("option url 'http:", "option url 'htp:"),
    lambda text: text.replace("option enabled '1'", "option enabled '0'"),
    lambda text: text.replace("option homeserver 'nas'", "option homeserver 'nobody'"),
    lambda text: text.replace("list certificate '", "list certificate '/nowhere"),
    lambda text: text[:len(text) // 2],
    lambda text: "",
    lambda text: "\0\xff" + text,
], ids=["unknown-option", "bad-port", "bad-url", "disabled", "bad-reference", "no-certificate", "half", "empty", "garbage"])
def test_bad_configuration_changes_nothing(world, door, home, spoil):
    peer = world.peer()
    assert peer.ask(get()).status == 200
    with open(door.config, encoding="utf-8") as lines:
        good = lines.read()
    spoilt = spoil(good)
    assert spoilt != good
    door.write_text(spoilt)
    door.reload(refused=True)
    assert peer.ask(get()).status == 200
    assert world.peer().ask(get()).status == 200
    door.write_text(good)
    door.reload()


def test_key_that_does_not_match_changes_nothing(world, door, home):
    before = serial(world.peer())
    one, other = world.authority.issue("example.org"), world.authority.issue("example.org")
    door.write_config(world.sections(home, domain=world.domain(certificate=[one.chain], key=[other.key])))
    door.reload(refused=True)
    assert serial(world.peer()) == before


def test_missing_file_changes_nothing(world, door, home):
    os.rename(door.config, door.config + ".away")
    door.reload(refused=True)
    assert world.peer().ask(get()).status == 200


def test_new_domain_and_new_port(world, door, home):
    main, one, *rest = world.sections(home)
    door.write_config([main, one, world.domain("new.example"), *rest,
                       ("listen", "more", {"address": world.address(1), "port": "9448"})])
    door.reload()
    assert world.peer("new.example", port=9448).ask(get(host="new.example")).status == 200
    assert world.peer().ask(get()).status == 200
    door.write_config(world.sections(home))
    door.reload()
    with pytest.raises(ConnectionRefusedError):
        world.plain_peer(9448)
    assert world.peer().ask(get(host="new.example")).status == 421


def test_port_that_is_taken_changes_nothing(world, door, home):
    main, one, *rest = world.sections(home)
    world.server((1, 9448))
    door.write_config([main, world.domain("new.example"), *rest,
                       ("listen", "more", {"address": world.address(1), "port": "9448"})])
    door.reload(refused=True)
    assert world.peer().ask(get(host="new.example")).status == 421
    assert world.peer().ask(get()).status == 200


def test_port_that_changes_hands_needs_a_restart(world, home, own_door):
    """The one who is in the way is this doorstep: nobody is sent to look for another program."""
    more = ("listen", "more", {"address": world.address(1), "port": "9449"})
    door = own_door([*world.sections(home), more])
    door.write_config([*world.sections(home), world.outbound(f"{world.address(1)}:9449")])
    door.reload(refused=True)
    line = [line for line in door.child.log_text().splitlines() if "serve.reload" in line][-1]  # of all doors
    assert "is open already, for another purpose: restart doorstep" in line and "another program" not in line
    assert world.peer(port=9449).ask(get()).status == 200


def test_running_request_ends_under_the_old_one(world, door, home):
    """Its homeserver is gone from the configuration, its answer still comes."""
    release = threading.Event()

    def script(exchange):
        if b"wait" in exchange.request.target:
            release.wait(20)
        exchange.respond(body=b"old")

    home.script = script
    other = world.server((9, 8008), lambda exchange: exchange.respond(body=b"new"))
    peer = world.peer()
    peer.send(get(VERSION + "?wait"))
    home.wait_requests(1)
    door.write_config(world.sections(other))
    door.reload()
    assert world.peer().ask(get()).body == b"new"
    release.set()
    assert peer.response().body == b"old"
    assert peer.ask(get()).body == b"new"


def test_limits_change(world, door, home):
    door.write_config(world.sections(home, limits={"requests_per_connection": "1"}))
    door.reload()
    assert world.peer().ask(get()).get("connection") == b"close"


def test_outbound_listener_becomes_another_kind(world, home, own_door):
    """At the same address: not in use by another program, but ours."""
    remote = Remote(world, "far.example", 44)
    lan = world.outbound(f"{world.address(45)}:8009")
    door = own_door(world.sections(home, lan, host=45))
    assert world.plain_peer(host=45).ask(synapse("far.example")).status == 200
    connect = ("outbound", "lan", {**world.connect_listener()[2], "listen": f"{world.address(45)}:8009"})
    door.write_config(world.sections(home, connect, host=45))
    door.reload()
    wait_until("the other kind", lambda: world.plain_peer(host=45).ask(synapse("far.example")).status == 407)
    assert len(remote.federation.requests) == 1
    assert door.counted("reloads_refused") == 0


def end_of(certificate):
    """Of a certificate, in seconds since 1970, as OpenSSL reads it."""
    done = subprocess.run(["openssl", "x509", "-in", certificate.chain, "-noout", "-enddate", "-dateopt", "iso_8601"],
                          capture_output=True, text=True, check=True)
    text = done.stdout.strip().removeprefix("notAfter=")
    return int(datetime.datetime.strptime(text, "%Y-%m-%d %H:%M:%SZ").replace(tzinfo=datetime.timezone.utc).timestamp())


def test_status_says_how_long_certificates_are_good(world, home, own_door):
    """Of a domain, the one for its names that ends first; a renewed one counts from the reload on."""
    short = world.authority.issue("example.org", "matrix.example.org", days=(-1, 9.5))
    sections = world.sections(home, host=43, domain=world.domain(files=short))
    door = own_door(sections)
    [domain] = door.status()["domains"]
    assert domain["certificate_until_unix"] == end_of(short)
    assert "certificate good for 9 more days" in door.run("status", "--socket", door.control).stdout
    renewed = world.authority.issue("example.org", "matrix.example.org", days=(-1, 400))
    door.write_config(world.sections(home, host=43, domain=world.domain(files=renewed)))
    door.reload()
    wait_until("the new one", lambda: door.status()["domains"][0]["certificate_until_unix"] == end_of(renewed))
