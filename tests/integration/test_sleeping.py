"""A homeserver that sleeps: what is acknowledged for it is kept, and handed over when it is back.

Other servers sign what they send and serve their keys; the homeserver is a script that is switched
off and on.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from support.door import release_executable
from support.http1 import Cut
from support.matrix import Signer, canonical, now_ms
from support.process import wait_until
from support.world import SECRET
from remote import Remote, synapse
from talk import assert_error, get, head, put_chunked

OURS = "example.org"
PDUS = b'{"pdus":{}}'
PROFILE = "/_matrix/federation/v1/query/profile?user_id=%40adam%3Aexample.org"


class Origin:
    """Another server: two keys, and where they are served."""

    def __init__(self, world, name, number):
        self.world, self.name, self.source = world, name, world.address(number)
        self.signer, self.second = Signer(name, "ed25519:k1"), Signer(name, "ed25519:k2")
        self.keys = world.server((number, 8448), self.answer, world.certificate(name))
        world.dns.add(name, "A", self.source)
        self.count = 0

    def answer(self, exchange):
        exchange.respond(body=json.dumps(self.document()).encode())

    def document(self):
        value = {"server_name": self.name, "valid_until_ts": now_ms() + 86400000, "old_verify_keys": {},
                 "verify_keys": {signer.key_id: {"key": signer.public} for signer in (self.signer, self.second)}}
        self.signer.sign_json(value)
        return self.second.sign_json(value)

    def event(self, text="hello"):
        return {"type": "m.room.message", "sender": f"@egon:{self.name}", "room_id": "!r:example.org",
                "origin_server_ts": 1700000000000, "depth": 7, "prev_events": [], "auth_events": [],
                "content": {"body": text, "msgtype": "m.text"}, "hashes": {"sha256": "aGFzaA"}}

    def body(self, text="hello", **more):
        """Not canonical, so that nobody can write it anew unnoticed."""
        value = {"pdus": [self.event(text)], "origin": self.name, "origin_server_ts": 1700000000001, **more}
        return json.dumps(value, indent=1).encode()

    def name_next(self):
        self.count += 1
        return f"/_matrix/federation/v1/send/{self.name}-{self.count}"

    def request(self, target, body, *fields, method="PUT", destination=OURS, both=False):
        content = json.loads(body) if body else None
        lines = [f"Authorization: {signer.authorization(method, target, destination, content)}"
                 for signer in ((self.signer, self.second) if both else (self.signer,))]
        length = [f"Content-Length: {len(body)}", "Content-Type: application/json"] if body else []
        return head(method, target, *lines, *fields, *length) + body

    def get(self, target):
        return self.request(target, b"", method="GET")

    def peer(self):
        return self.world.peer(source=self.source)

    def send(self, text="hello", target=None, **options):
        """A transaction on a connection of its own; its target and the answer."""
        target = target or self.name_next()
        with self.peer() as peer:
            return target, peer.ask(self.request(target, self.body(text), **options))

    def keep(self, text="hello", **options):
        """A transaction that must be acknowledged; its target."""
        target, response = self.send(text, **options)
        assert_kept(response)
        return target


class Tenant(Origin):
    """Another domain behind the same door: its keys are had from its homeserver alone."""

    def __init__(self, world, name, homeserver):
        self.world, self.name, self.count = world, name, 0
        self.signer, self.second = Signer(name, "ed25519:k1"), Signer(name, "ed25519:k2")
        self.requests = homeserver.requests
        homeserver.script = self.answer

    def hand_over(self, target, body, secret=SECRET):
        """As its homeserver hands a transaction for the other domain to the door."""
        authorization = self.signer.authorization("PUT", target, OURS, json.loads(body))
        with self.world.plain_peer() as peer:
            return peer.ask(synapse(OURS, target, "PUT", body, authorization=[authorization], secret=secret))


class Night:
    """A door of a sleeping homeserver, and the homeserver."""

    def __init__(self, world, home, own_door, state, homeserver=(), main=(), limits=(), wrapper=(), extra=(),
                 program=None):
        self.world, self.home, self.program = world, home, program
        self.state_dir, self.wrapper = state, list(wrapper)
        self.is_on = True
        self.sections = [world.main(**{"state_dir": state, **dict(main)}), world.domain(),
                         ("homeserver", "nas", {"url": world.url_of(home), "sleeps": "1", "probe_interval": "1s",
                                                "repeat_answers": "0", **dict(homeserver)}),
                         *world.listens(), *extra, ("limits", "limits", dict(limits))]
        self.own_door, self.door, self.logged = own_door, None, 0

    def start(self, asleep=True):
        if asleep:
            self.sleep()
        self.door = self.own_door(self.sections, start=False, program=self.program)
        self.door.child.argv[:0] = self.wrapper
        self.begin()
        if asleep is not None:  # else nobody looks at it
            self.wait_state("asleep" if asleep else "awake")
        return self

    def begin(self):
        """Its log holds what earlier doors said, too."""
        log = self.door.child.log
        self.logged = len(self.door.child.log_text()) if os.path.exists(log) else 0
        self.door.start()

    def log(self):
        return self.door.child.log_text()[self.logged:]

    def sleep(self):
        self.is_on = False
        self.home.stop_listening()
        self.home.drop_connections()
        wait_until("the homeserver to be gone", lambda: self.home.open == 0)

    def wake(self):
        self.home.listen()
        self.is_on = True

    def puts(self):
        return [request for request in list(self.home.requests) if request.method == b"PUT"]

    def wait_delivered(self, targets, seconds=20):
        """Exactly these arrive, each once."""
        wait_until(f"{len(targets)} deliveries", lambda: len(self.puts()) >= len(targets) and all(
            request.body for request in self.puts()), seconds)
        got = [request.target.decode() for request in self.puts()]
        assert sorted(got) == sorted(targets), got
        return self.puts()

    def wait_state(self, state):
        wait_until(f"the homeserver to be {state}", lambda: self.state() == state)

    def wait_awake(self):
        """Everything that could be handed over was."""
        self.wait_state("awake")

    def state(self):
        """As the log has it."""
        lines = [line for line in self.log().splitlines() if "sleep.state" in line]
        return lines[-1].split(" to=")[1].split()[0] if lines else None

    def restart(self, number):
        """SIGTERM, or kill -9."""
        self.door.child.signal(number)
        status = self.door.child.wait()
        assert status == (0 if number == signal.SIGTERM else -number)
        self.begin()


def assert_kept(response):
    assert response.status == 200, (response.status, response.body)
    assert response.get("content-type") == b"application/json"
    assert response.body == PDUS


def answer_all(exchange):
    exchange.read_body()
    exchange.respond(body=PDUS)


@pytest.fixture(scope="module")
def others(world):
    return [Origin(world, f"server{number}.test", 40 + number) for number in range(4)]


@pytest.fixture
def origins(others):
    for origin in others:
        origin.keys.script = origin.answer
    return others


@pytest.fixture
def egon(origins):
    return origins[0]


@pytest.fixture
def nights(world, home, own_door, request):
    """nights(...) starts a door for this test, the homeserver asleep unless told otherwise."""
    made = []

    def make(asleep=True, **options):
        home.script = answer_all
        state = world.path(f"state-{request.node.name[:20]}-{len(made)}".replace("[", "-").replace("]", ""))
        os.makedirs(state, exist_ok=True)
        made.append(Night(world, home, own_door, state, **options))
        return made[-1].start(asleep)

    yield make
    world.close_peers()
    for night in made:
        if not night.is_on:
            night.wake()
        if night.door and night.door.child.ended() is None:
            night.door.settle()


# ---- kept, and handed over ----

def test_kept_and_handed_over_as_it_came(nights, egon):
    night = nights()
    target, body = egon.name_next() + "%20x?via=a%2Fb", egon.body("as it came ü \U0001f600")
    request = egon.request(target, body, "X-Forwarded-For: 192.0.2.1", both=True)
    assert_kept(egon.peer().ask(request))
    assert night.door.counted("queue_accepted") == 1
    assert not night.puts()
    night.wake()
    [got] = night.wait_delivered([target])
    lines = [line[15:] for line in request.split(b"\r\n") if line.startswith(b"Authorization: ")]
    assert (got.method, got.target, got.body) == (b"PUT", target.encode(), body)
    assert got.all("authorization") == lines and len(lines) == 2
    assert got.get("content-type") == b"application/json"
    assert got.get("x-forwarded-for") == egon.source.encode()
    assert got.get("host") == OURS.encode()
    night.wait_awake()
    assert night.door.counted("queue_delivered") == 1


def test_order_of_each_origin(nights, origins):
    night = nights()
    sent = [(origin, origin.keep(f"number {number}")) for number in range(6) for origin in origins]
    night.wake()
    got = [request.target.decode() for request in night.wait_delivered([target for _, target in sent])]
    for origin in origins:
        mine = [target for who, target in sent if who is origin]
        assert [target for target in got if target in mine] == mine


def test_one_at_a_time_for_an_origin(nights, origins):
    night, under_way, most = nights(), {}, {}
    lock = threading.Lock()

    def script(exchange):
        exchange.read_body()
        name = exchange.request.target.decode().rsplit("-", 1)[0]
        with lock:
            under_way[name] = under_way.get(name, 0) + 1
            most[name] = max(most.get(name, 0), under_way[name])
            most["all"] = max(most.get("all", 0), sum(under_way.values()))
        time.sleep(0.1)
        with lock:
            under_way[name] -= 1
        exchange.respond(body=PDUS)

    sent = [origin.keep() for _ in range(3) for origin in origins]
    night.home.script = script
    night.wake()
    night.wait_delivered(sent)
    total = most.pop("all")
    assert set(most.values()) == {1} and 1 < total <= 3, (most, total)


def test_large_transaction(nights, egon):
    night = nights(homeserver={"queue_limit": "8M"})
    body = egon.body("x" * 60000, edus=[{"edu_type": "m.direct_to_device", "content": {"x": "y" * 50000}}
                                        for _ in range(10)])
    target = egon.name_next()
    assert_kept(egon.peer().ask(egon.request(target, body)))
    night.wake()
    assert night.wait_delivered([target])[0].body == body


def test_more_than_may_be_kept_is_503(nights, egon):
    """The sender repeats it after a 503, and gives up after a 413."""
    night = nights()
    edu = {"edu_type": "m.direct_to_device", "content": {"x": "y" * 60000}}
    body = egon.body(edus=[edu for _ in range(30)])
    with egon.peer() as peer:
        peer.send_gently(egon.request(egon.name_next(), body))
        assert_error(peer.response("PUT"), 503)
    night.wake()
    night.wait_awake()
    assert not night.puts()


def test_large_on_a_large_machine(nights, egon):
    night = nights(main={"memory_class": "256"})
    edu = {"edu_type": "m.direct_to_device", "content": {"x": "y" * 60000}}
    target, body = egon.name_next(), egon.body(edus=[edu for _ in range(99)])
    assert_kept(egon.peer().ask(egon.request(target, body)))
    night.wake()
    assert night.wait_delivered([target])[0].body == body


def test_bodies_under_way_are_bounded_together(nights, egon):
    """Class 64 has 4 MiB for all: the fifth of a megabyte is refused, and the place comes back."""
    night, peers = nights(), []
    edu = {"edu_type": "m.direct_to_device", "content": {"x": "y" * 60000}}
    body = egon.body(edus=[edu for _ in range(16)])
    for _ in range(6):
        peer = egon.peer()
        peer.send_gently(egon.request(egon.name_next(), body)[:-10])
        peers.append(peer)
    wait_until("refusals", lambda: night.door.causes("queue_refused").get("limit", 0) >= 1)
    night.world.close_peers()
    night.door.settle()
    assert_kept(egon.peer().ask(egon.request(egon.name_next(), body)))


def test_chunked_is_kept(nights, egon):
    night = nights()
    target, body = egon.name_next(), egon.body("in pieces")
    line = egon.signer.authorization("PUT", target, OURS, json.loads(body))
    assert_kept(egon.peer().ask(put_chunked(target, body, f"Authorization: {line}", size=50)))
    night.wake()
    assert night.wait_delivered([target])[0].body == body


def test_body_comes_after_100_continue(nights, egon):
    nights()
    target, body = egon.name_next(), egon.body()
    peer = egon.peer()
    request = egon.request(target, body, "Expect: 100-continue")
    peer.send(request[:-len(body)])
    assert peer.reader.response_head().status == 100
    peer.send(body)
    assert_kept(peer.response("PUT"))


def test_several_on_one_connection(nights, egon):
    night, peer, sent = nights(), egon.peer(), []
    for number in range(3):
        sent.append(egon.name_next())
        assert_kept(peer.ask(egon.request(sent[-1], egon.body(f"number {number}"))))
    night.wake()
    assert [request.target.decode() for request in night.wait_delivered(sent)] == sent


def test_byte_by_byte(nights, egon):
    night, target = nights(), egon.name_next()
    peer = egon.peer()
    peer.send(egon.request(target, egon.body("slow")), piece=7)
    assert_kept(peer.response("PUT"))
    night.wake()
    night.wait_delivered([target])


# ---- the same again ----

def test_identical_retry_is_kept_once(nights, egon):
    night = nights()
    target = egon.keep("the same")
    for _ in range(3):
        assert egon.keep("the same", target=target) == target
    night.wake()
    night.wait_delivered([target])
    night.wait_awake()
    assert len(night.puts()) == 1


def test_retry_after_it_was_handed_over(nights, egon):
    """The sender did not hear the 200, and the homeserver sleeps again."""
    night = nights()
    target = egon.keep("the same")
    night.wake()
    night.wait_delivered([target])
    night.wait_awake()
    night.sleep()
    egon.keep("the same", target=target)
    egon.keep("another one")
    night.wake()
    wait_until("the other one", lambda: len(night.puts()) == 2)
    assert [request.target.decode() for request in night.puts()].count(target) == 1


def test_other_body_under_the_same_id(nights, egon):
    night = nights()
    target = egon.keep("first body")
    egon.keep("second body", target=target)
    night.wake()
    [got] = night.wait_delivered([target])
    assert b"second body" in got.body


# ---- behind what waits ----

def test_live_goes_behind_what_waits(nights, egon, origins):
    """The homeserver is slow with the first: others pass, the same origin does not."""
    night, go = nights(), threading.Event()

    def script(exchange):
        exchange.read_body()
        if b"first" in exchange.request.body:
            go.wait(20)
        exchange.respond(body=PDUS)

    first = egon.keep("first")
    night.home.script = script
    night.wake()
    wait_until("the first one to be under way", night.puts)
    second = egon.keep("second")
    other, response = origins[1].send("live")
    assert response.status == 200
    assert [request.target.decode() for request in night.puts()] == [first, other]
    third = egon.keep("third")
    go.set()
    wait_until("all", lambda: len(night.puts()) == 4)
    assert [request.target.decode() for request in night.puts()] == [first, other, second, third]


def test_awake_again_is_live_again(nights, egon):
    night = nights()
    egon.keep()
    night.wake()
    night.wait_awake()
    night.home.script = lambda exchange: (exchange.read_body(), exchange.respond(body=b'{"pdus":{"$a":{}}}'))
    assert egon.send("live")[1].body == b'{"pdus":{"$a":{}}}'
    assert night.door.counted("queue_accepted") == 1


# ---- refused ----

def refused(night, response, status, errcode=None):
    assert_error(response, status, errcode)
    assert night.door.counted("queue_accepted") == 0


def test_forged_signature_is_401(nights, egon):
    night = nights()
    request = egon.request(egon.name_next(), egon.body("true"))
    refused(night, egon.peer().ask(request.replace(b'"true"', b'"fake"')), 401, "M_UNAUTHORIZED")


def test_forged_target_is_401(nights, egon):
    night = nights()
    target = egon.name_next()
    request = egon.request(target, egon.body())
    refused(night, egon.peer().ask(request.replace(target.encode() + b" HTTP", target.encode() + b"x HTTP")), 401)


def test_unsigned_is_401(nights, egon):
    night, body = nights(), egon.body()
    request = head("PUT", egon.name_next(), f"Content-Length: {len(body)}") + body
    refused(night, egon.peer().ask(request), 401, "M_UNAUTHORIZED")


def test_for_somebody_else_is_401(nights, egon):
    night = nights()
    refused(night, egon.send(destination="elsewhere.test")[1], 401, "M_UNAUTHORIZED")


def test_unknown_key_server_is_503(nights, world, egon):
    """No keys, no verdict: the sender repeats it."""
    night = nights()
    stranger = Signer("nowhere.test")
    target, body = egon.name_next(), egon.body()
    line = stranger.authorization("PUT", target, OURS, json.loads(body))
    request = head("PUT", target, f"Authorization: {line}", f"Content-Length: {len(body)}") + body
    refused(night, world.peer().ask(request), 503)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"pdus":{}}', b'{"pdus":[],"pdus":[]}',
                                  canonical({"pdus": [{}] * 51}), canonical({"edus": [{}] * 101})])
def test_what_is_no_transaction_is_400(nights, egon, body):
    night = nights()
    target = egon.name_next()
    line = egon.signer.authorization("PUT", target, OURS, {})
    request = head("PUT", target, f"Authorization: {line}", f"Content-Length: {len(body)}") + body
    refused(night, egon.peer().ask(request), 400)


def test_typing_and_presence_are_not_kept(nights, egon):
    night = nights()
    body = egon.body(pdus=[], edus=[{"edu_type": kind, "content": {}} for kind in ("m.typing", "m.presence")])
    assert_kept(egon.peer().ask(egon.request(egon.name_next(), body)))
    assert (night.door.counted("queue_accepted"), night.door.counted("queue_dropped")) == (0, 1)
    forged = egon.request(egon.name_next(), body).replace(b"m.typing", b"m.Typing")
    assert_error(egon.peer().ask(forged), 401)
    night.wake()
    night.wait_awake()
    assert not night.puts()


def test_full_queue_is_503(nights, egon, origins):
    night = nights(homeserver={"queue_limit": "128K"})
    kept = []
    for number in range(30):
        target, response = egon.send("x" * 6000)
        if response.status != 200:
            assert_error(response, 503)
            break
        kept.append(target)
    assert 0 < len(kept) < 30, "a ceiling for one origin"
    assert night.door.causes("queue_refused") == {"limit": 1}
    kept.append(origins[1].keep("there is room for others"))
    night.wake()
    night.wait_delivered(kept)
    night.wait_awake()
    night.sleep()
    egon.keep("room again")


def test_state_dir_cannot_be_written(nights, world, egon):
    """Said once, and nothing is acknowledged early."""
    state = world.write("no-directory", "a file")
    night = nights(main={"state_dir": os.path.join(state, "sub")})
    for _ in range(3):
        refused(night, egon.send()[1], 503)
    assert night.log().count("serve.queue") == 1
    night.wake()
    night.wait_awake()
    assert egon.send("live")[1].status == 200
    assert len(night.puts()) == 1


# A file system of its own, which nobody else sees, and which is gone with the process.
SMALL_DISK = 'mount -o loop "$0" "$1" && shift && exec "$@"'


def test_disk_fills_up_and_has_room_again(nights, world, egon, tmp_path):
    """Refused before it is stored, said once; what was kept stays, and room is used again."""
    image, mounted = str(tmp_path / "disk"), str(tmp_path / "mounted")
    os.mkdir(mounted)
    with open(image, "wb") as out:
        out.truncate(12 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    tried = subprocess.run(["unshare", "-m", "sh", "-c", SMALL_DISK, image, mounted, "true"], check=False,
                           capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"no file system can be mounted here: {tried.stderr.strip()}")
    night = nights(main={"state_dir": mounted},
                   wrapper=["unshare", "-m", "sh", "-c", SMALL_DISK, image, mounted])
    kept = [egon.keep("x" * 20000) for _ in range(3)]
    filler = f"/proc/{night.door.child.pid}/root{mounted}/filler"
    with pytest.raises(OSError), open(filler, "wb", buffering=0) as out:
        while True:
            out.write(b"x" * 4096)
    refused_count = 0
    for _ in range(12):
        target, response = egon.send("x" * 60000)
        if response.status == 200:
            kept.append(target)  # there was room within the file
        else:
            assert_error(response, 503)
            refused_count += 1
    assert refused_count >= 3
    assert night.door.causes("queue_refused") == {"limit": refused_count}
    assert night.log().count("store.queue: no room for more") == 1
    os.remove(filler)
    kept.append(egon.keep("there is room again"))
    assert "writing works again" in night.log()
    night.wake()
    assert [request.target.decode() for request in night.wait_delivered(kept)] == kept


# ---- doorstep itself ends ----

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_restart_with_items_waiting(nights, origins, number):
    night = nights()
    sent = [(origin, origin.keep(f"number {count}")) for count in range(3) for origin in origins[:2]]
    night.restart(number)
    sent += [(origin, origin.keep("after it")) for origin in origins[:2]]
    night.wake()
    got = [request.target.decode() for request in night.wait_delivered([target for _, target in sent])]
    for origin in origins[:2]:
        mine = [target for who, target in sent if who is origin]
        assert [target for target in got if target in mine] == mine
    assert not night.door.counted("key_fetches"), "keys of those who were verified are remembered"


def test_its_store_is_cut_under_it(nights, egon, origins):
    """What users run ends with one line; started again it says what became of the store, and goes on."""
    night = nights(program=release_executable())
    egon.keep("lost with the file")
    egon.keep("this one, too")
    data = os.path.join(night.state_dir, "queue", "data.mdb")
    assert os.path.getsize(data) > 16384
    os.truncate(data, 8192)
    with origins[1].peer() as peer:
        peer.send(origins[1].request(origins[1].name_next(), origins[1].body("not acknowledged")))
        with pytest.raises(Cut):
            peer.response()
    assert night.door.child.wait() == 1
    assert night.log().splitlines()[-1].startswith("error store.shrunk: ")
    night.begin()
    assert night.log().count("error serve.queue: ") == 1 and "aside" in night.log()
    assert os.path.exists(data + ".damaged")
    target = egon.keep("kept again")
    night.wake()
    night.wait_delivered([target])


def contents(folder):
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(path, name), "rb") as file:
                found[os.path.join(path, name)] = file.read()
    return found


def is_shut(night):
    """It runs, keeps nothing, says so wherever it is asked, and leaves the queue as it is."""
    log = night.log()
    assert log.count("error serve.shut: doorstep died 3 times while it opened or read " + night.state_dir) == 1, log
    document = night.door.status()
    assert document["shut"] is True and document["queue"] is None
    assert "queue     shut: doorstep died too often" in night.door.run("status", "--socket", night.door.control).stdout
    refused = night.door.run("queue", "list", "--socket", night.door.control)
    assert refused.returncode == 1 and "state_dir is left alone" in refused.stderr
    check = night.door.run("check", "--config", night.door.config).stdout
    assert "died too often" in check, check
    return True


def comes_back(night, egon):
    """Started again in good order it tries once more."""
    night.restart(signal.SIGTERM)
    night.wait_state("awake" if night.is_on else "asleep")
    assert night.door.status()["shut"] is False and night.door.status()["queue"] is not None


def test_its_store_kills_it_again_and_again(nights, egon):
    """The third time it dies of a mapping that was cut; then it runs without, and senders keep what they have."""
    night = nights(program=release_executable())
    data = os.path.join(night.state_dir, "queue", "data.mdb")
    for count in range(3):
        if count:
            night.begin()
            night.wait_state("asleep")
        egon.keep("lost with the file")
        egon.keep("this one, too")
        os.truncate(data, 8192)
        with egon.peer() as peer:
            peer.send(egon.request(egon.name_next(), egon.body("not acknowledged")))
            with pytest.raises(Cut):
                peer.response()
        assert night.door.child.wait() == 1
        assert "error store.shrunk: " in night.log()
    before = contents(os.path.join(night.state_dir, "queue"))
    night.begin()
    night.wait_state("asleep")
    assert is_shut(night)
    assert_error(egon.send("not now")[1], 503)
    night.wake()
    night.wait_awake()
    target, response = egon.send("to the homeserver itself")
    assert response.status == 200
    night.wait_delivered([target])
    assert contents(os.path.join(night.state_dir, "queue")) == before
    night.sleep()
    comes_back(night, egon)
    assert "aside" in night.log()
    target = egon.keep("kept again")
    night.home.requests.clear()
    night.wake()
    night.wait_delivered([target])


def test_opening_its_store_kills_it_again_and_again(nights, egon):
    """A file that is no file: it hangs while it opens it, until somebody kills it."""
    night = nights()
    targets = [egon.keep("kept"), egon.keep("and kept")]
    night.door.child.signal(signal.SIGTERM)
    assert night.door.child.wait() == 0
    data, away = os.path.join(night.state_dir, "queue", "data.mdb"), os.path.join(night.state_dir, "kept")
    deaths = os.path.join(night.state_dir, "queue.deaths")
    assert not os.path.exists(deaths), "all is forgotten at a good end"
    os.rename(data, away)
    os.mkfifo(data)
    for count in range(3):
        night.door.child.start()
        wait_until("it to open the queue", lambda wanted=str(count + 1): os.path.exists(deaths) and
                   open(deaths, encoding="ascii").read().endswith(wanted) and
                   "queue/lock" in opened(night.door.child.pid))
        night.door.child.signal(signal.SIGKILL)
        assert night.door.child.wait() == -signal.SIGKILL
    night.begin()
    night.wait_state("asleep")
    assert is_shut(night)
    os.remove(data)
    os.rename(away, data)
    verified = night.door.run("queue", "verify", "--config", night.door.config)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    exported = night.door.run("queue", "export", "--config", night.door.config, night.world.path("exported"))
    assert exported.returncode == 0 and "2" in exported.stdout, exported.stdout + exported.stderr
    comes_back(night, egon)
    night.wake()
    night.wait_delivered(targets)


def opened(pid):
    """What it has open, in one text."""
    folder = f"/proc/{pid}/fd"
    return " ".join(os.readlink(os.path.join(folder, number)) for number in os.listdir(folder))


def test_killed_while_handing_over(nights, egon):
    night, held = nights(), threading.Event()
    sent = [egon.keep(f"number {number}") for number in range(3)]

    def script(exchange):
        exchange.read_body()
        if exchange.request.method == b"PUT" and not held.is_set():
            held.set()
            exchange.peer_left()
            exchange.close()
        else:
            exchange.respond(body=PDUS)

    night.home.script = script
    night.wake()
    wait_until("the first one to be under way", held.is_set)
    night.restart(signal.SIGKILL)
    wait_until("all", lambda: len(night.puts()) == 4)
    assert [request.target.decode() for request in night.puts()] == [sent[0], *sent]


# ---- what the homeserver says to it ----

def answers(night, *statuses):
    """The statuses of the first deliveries, then 200."""
    left = list(statuses)

    def script(exchange):
        exchange.read_body()
        if exchange.request.method == b"PUT" and left:
            exchange.respond(left.pop(0), b'{"errcode":"M_UNKNOWN","error":"no"}', reason=b"No")
        else:
            exchange.respond(body=PDUS)

    night.home.script = script


@pytest.mark.parametrize("status", [500, 429, 503, 401])
def test_trouble_is_tried_again(nights, egon, status):
    night = nights()
    sent = [egon.keep("first"), egon.keep("second")]
    answers(night, status)
    night.wake()
    wait_until("all", lambda: len(night.puts()) == 3)
    assert [request.target.decode() for request in night.puts()] == [sent[0], *sent]
    night.wait_awake()
    assert night.door.counted("queue_retried") == 1 and night.door.counted("queue_delivered") == 2


def test_live_traffic_does_not_end_the_pause(nights, egon, origins):
    night = nights()
    egon.keep("first")
    night.home.script = lambda exchange: (exchange.read_body(), exchange.respond(
        500 if exchange.request.method == b"PUT" and b"server0" in exchange.request.target else 200, PDUS))
    night.wake()
    wait_until("the first try", night.puts)
    night.door.wait_counter("queue_retried", 1)
    for _ in range(20):
        assert origins[1].send("live")[1].status == 200
    assert night.door.counted("queue_retried") <= 4


@pytest.mark.parametrize("status", [400, 403, 413])
def test_refused_is_parked(nights, egon, status):
    night = nights()
    sent = [egon.keep("first"), egon.keep("second")]
    answers(night, status)
    night.wake()
    night.wait_delivered(sent)
    night.wait_awake()
    assert night.door.counted("queue_parked") == 1 and night.door.counted("queue_delivered") == 1
    night.restart(signal.SIGTERM)
    night.wait_awake()
    assert len(night.puts()) == 2, "set aside for good"


def test_what_it_hangs_up_on_is_parked(nights, origins):
    """Five times, while it takes what others sent: that one transaction must be the reason."""
    night = nights()
    poison = origins[0].keep("poison")
    behind = origins[0].keep("behind it")
    others = [origins[1].keep("first"), origins[2].keep("second")]

    def script(exchange):
        exchange.read_body()
        if exchange.request.target == poison.encode():
            exchange.reset()
        else:
            exchange.respond(body=PDUS)

    night.home.script, night.home.cuts_allowed = script, True
    night.wake()
    wait_until("it to be set aside", lambda: night.door.counted("queue_parked") == 1, 60)
    wait_until("the one behind it", lambda: night.door.counted("queue_delivered") == 3)
    got = [request.target.decode() for request in night.puts()]
    assert 5 <= got.count(poison) <= 10  # a kept connection that ends is replaced once
    assert sorted(set(got) - {poison}) == sorted([behind, *others])
    night.wait_awake()
    [parked] = json.loads(night.door.run("queue", "parked", "--json", "--socket", night.door.control).stdout)["items"]
    assert "hangs up" in parked["reason"]


def test_what_it_cannot_verify_does_not_keep_it_up(nights, origins):
    """401 means hours of trying: meanwhile it is awake for everybody else, and may sleep."""
    night = nights()
    origins[0].keep("whose keys cannot be had")
    target = origins[1].keep("good")
    night.home.script = lambda exchange: (exchange.read_body(), exchange.respond(
        401 if b"server0" in exchange.request.target else 200, PDUS))
    night.wake()
    night.wait_awake()
    assert night.door.counted("queue_delivered") == 1 and night.door.counted("queue_parked") == 0
    assert night.door.status()["queue"]["waiting"] == 1
    assert target.encode() in [request.target for request in night.puts()]
    assert night.door.run("sleep", "--socket", night.door.control).returncode == 0


# ---- found out in mid-request ----

@pytest.mark.parametrize("when", ["before the body", "after the body", "in the middle"])
def test_dies_under_a_transaction(nights, egon, when):
    night = nights(asleep=False)
    dying = threading.Event()

    def script(exchange):
        if exchange.request.method != b"PUT":
            answer_all(exchange)
            return
        if when == "in the middle":
            exchange.reader.take(100)
        elif when == "after the body":
            exchange.read_body()
        dying.set()
        night.home.stop_listening()
        exchange.reset()

    night.home.script, night.home.cuts_allowed = script, True
    night.is_on = False
    body = egon.body("x" * 40000)
    target = egon.name_next()
    assert_kept(egon.peer().ask(egon.request(target, body)))
    assert dying.is_set()
    second = egon.keep("second")
    night.home.take()
    night.home.script = answer_all
    night.wake()
    got = night.wait_delivered([target, second])
    assert [request.body for request in got][0] == body


@pytest.mark.parametrize("status", [502, 503, 504])
def test_gateway_without_its_homeserver(nights, egon, status):
    """A reverse proxy on the same machine: it is up, the homeserver is not."""
    night = nights(asleep=False)
    night.home.script = lambda exchange: (exchange.read_body(), exchange.respond(
        status, b"<html>no", [(b"Content-Type", b"text/html")], b"Bad Gateway"))
    sent = [egon.keep("first"), egon.keep("second")]
    time.sleep(2)
    night.home.take()
    night.home.script = answer_all
    night.wait_delivered(sent)
    night.wait_awake()
    night.home.script = lambda exchange: exchange.respond(500, b"{}", reason=b"No")
    assert egon.send()[1].status == 500, "its own word"


def silent(night, method):
    """As a machine that was suspended: connections stay open, and nothing is said on them."""
    asked = threading.Event()

    def script(exchange):
        exchange.read_body()
        if exchange.request.method == method:
            asked.set()
            exchange.peer_left()
            exchange.close()
        else:
            exchange.respond(body=PDUS)

    night.home.script, night.home.cuts_allowed = script, True
    return asked


def test_silent_under_a_transaction(nights, egon):
    """Acknowledged before the sender's patience ends."""
    night = nights(asleep=False, homeserver={"probe_interval": "1h"})
    asked, peer, target = silent(night, b"PUT"), egon.peer(), egon.name_next()
    peer.send(egon.request(target, egon.body()))
    assert asked.wait(10)
    night.home.stop_listening()
    night.is_on = False
    assert_kept(peer.response("PUT"))
    night.home.take()
    night.home.script = answer_all
    night.wake()
    night.wait_delivered([target])


def test_silent_under_a_question(nights, egon):
    night = nights(asleep=False, homeserver={"probe_interval": "1h"})
    asked, peer = silent(night, b"GET"), egon.peer()
    peer.send(egon.get(PROFILE))
    assert asked.wait(10)
    night.home.stop_listening()
    night.is_on = False
    night.door.wait_gauge("held_requests_open", 1)
    night.home.script = answer_all
    night.wake()
    assert peer.response().status == 200


def test_silent_under_a_delivery(nights, egon):
    """What was being handed over is given up with the homeserver, and waits no five minutes."""
    night = nights()
    sent = [egon.keep("first"), egon.keep("second")]
    asked = silent(night, b"PUT")
    night.wake()
    assert asked.wait(20)
    night.home.stop_listening()
    night.is_on = False
    night.wait_state("asleep")
    night.home.take()
    night.home.script = answer_all
    night.wake()
    assert [request.target.decode() for request in night.wait_delivered(sent)] == sent


def test_slow_is_not_gone(nights, egon):
    """It answers late, but it answers: nothing is given up, nothing asked twice."""
    night = nights(asleep=False)

    def script(exchange):
        exchange.read_body()
        if exchange.request.method == b"PUT":
            time.sleep(8)
        exchange.respond(body=b'{"pdus":{"$late":{}}}')

    night.home.script = script
    assert egon.send()[1].body == b'{"pdus":{"$late":{}}}'
    assert len(night.puts()) == 1 and night.door.counted("queue_accepted") == 0


def test_off_is_found_out_by_a_transaction(nights, egon):
    """Between two probes: the first to notice is acknowledged, too."""
    night = nights(asleep=False, homeserver={"probe_interval": "1h"})
    night.sleep()
    sent = [egon.keep("first"), egon.keep("second")]
    forged = egon.request(egon.name_next(), egon.body("true")).replace(b'"true"', b'"fake"')
    assert_error(egon.peer().ask(forged), 401)
    night.wake()
    got = night.wait_delivered(sent)
    assert [request.target.decode() for request in got] == sent


def test_forged_that_finds_it_off_is_401(nights, egon):
    night = nights(asleep=False, homeserver={"probe_interval": "1h"})
    night.sleep()
    forged = egon.request(egon.name_next(), egon.body("true")).replace(b'"true"', b'"fake"')
    refused(night, egon.peer().ask(forged), 401)


def test_post_that_was_written_is_not_repeated(nights, egon):
    """A POST may have done something before the homeserver died."""
    night = nights(asleep=False)

    def script(exchange):
        exchange.read_body()
        if exchange.request.method == b"POST":
            exchange.reset()
        else:
            exchange.respond()

    night.home.script = script
    response = egon.peer().ask(egon.request("/_matrix/client/v3/createRoom", b"{}", method="POST"))
    assert_error(response, response.status)
    assert response.status >= 500
    assert [request.method for request in night.home.requests].count(b"POST") == 1


def test_request_that_kills_is_repeated_once(nights, egon):
    night = nights(asleep=False)

    def script(exchange):
        if PROFILE.encode() == exchange.request.target:
            exchange.reset()
        else:
            answer_all(exchange)

    night.home.script = script
    response = egon.peer().ask(egon.get(PROFILE))
    assert response.status >= 400
    assert len([request for request in night.home.requests if request.target == PROFILE.encode()]) <= 4


# ---- held ----

WAKES = {"wake_mac": "02:00:00:00:00:01", "wake_address": "127.255.255.255"}


def test_held_and_relayed(nights, egon, world):
    night = nights(asleep=False)
    night.sleep()
    peer, unsigned = egon.peer(), world.peer()
    peer.send(egon.get(PROFILE))
    unsigned.send(get())
    night.door.wait_gauge("held_requests_open", 2)
    assert not night.home.requests or night.home.take()
    night.wake()
    assert (peer.response().status, unsigned.response().status) == (200, 200)
    assert {request.target for request in night.home.requests} >= {PROFILE.encode()}
    assert peer.ask(egon.get(PROFILE)).status == 200, "on the same connection"


def test_strangers_wait_while_it_is_found_out(nights, world):
    """Whoever logs in just when doorstep has started has no token that could be known."""
    night, asked, may_answer = nights(asleep=False), threading.Event(), threading.Event()

    def script(exchange):
        exchange.read_body()
        if exchange.request.method == b"GET":
            asked.set()
            may_answer.wait(20)
        exchange.respond(body=b"{}")

    night.home.script = script
    night.restart(signal.SIGTERM)
    assert asked.wait(10), "doorstep's own first question"
    peer, body = world.peer(), b'{"type":"m.login.password"}'
    peer.send(head("POST", "/_matrix/client/v3/login", f"Content-Length: {len(body)}") + body)
    night.door.wait_gauge("held_requests_open", 1)
    may_answer.set()
    assert peer.response("POST").status == 200
    night.sleep()
    night.wait_state("asleep")
    assert_error(world.peer().ask(head("POST", "/_matrix/client/v3/login", "Content-Length: 2") + b"{}"), 503)


def test_held_post_is_relayed_with_its_body(nights, egon):
    night = nights(homeserver=WAKES)
    target, body = "/_matrix/federation/v1/user/keys/query", b'{"device_keys": {"@adam:example.org": []}}'
    peer = egon.peer()
    peer.send(egon.request(target, body, method="POST"))
    night.door.wait_gauge("held_requests_open", 1)
    night.wake()
    assert peer.response("POST").status == 200
    [got] = [request for request in night.home.requests if request.method == b"POST"]
    assert (got.target.decode(), got.body) == (target, body)


def test_hopeless_is_refused_by_the_row(nights, egon, world):
    """Nothing could wake it: nobody waits. Lookups get what starts no back-off, others 503."""
    night = nights()
    rows = [(PROFILE, 400, 599), (get(), 503, 503)]
    response = egon.peer().ask(egon.get(PROFILE))
    assert_error(response, response.status)
    assert response.status not in (401, 403, 404, 429), rows
    assert_error(world.peer().ask(get()), 503)
    assert world.peer().ask(egon.request("/_matrix/key/v2/query", b'{"server_keys":{}}', method="POST")).body == \
        b'{"server_keys":[]}'
    assert_error(world.peer().ask(get(PROFILE)), 401)
    assert_error(egon.peer().ask(egon.request(PROFILE, b"", method="GET", destination="other.test")), 401)
    assert night.door.gauge("held_requests_open") == 0


def test_does_not_come(nights, egon):
    night = nights(homeserver=WAKES)
    began = time.monotonic()
    target = "/_matrix/federation/v1/user/keys/claim"
    response = egon.peer().ask(egon.request(target, b'{"one_time_keys":{}}', method="POST"))
    assert_error(response, response.status)
    assert response.status not in (401, 403, 404, 429) and time.monotonic() - began > 1
    assert night.door.gauge("held_requests_open") == 0


def test_peer_leaves_while_held(nights, egon):
    night = nights(homeserver=WAKES)
    peer = egon.peer()
    peer.send(egon.request("/_matrix/federation/v1/user/keys/claim", b"{}", method="POST"))
    night.door.wait_gauge("held_requests_open", 1)
    peer.reset()
    night.door.wait_gauge("held_requests_open", 0)


def test_peer_leaves_in_mid_transaction(nights, egon):
    night = nights()
    with egon.peer() as peer:
        peer.send(egon.request(egon.name_next(), egon.body("x" * 30000))[:-100])
        night.door.wait_gauge("inbound_requests_open", 1)
        peer.reset()
    night.door.settle()
    assert night.door.counted("queue_accepted") == 0


def test_stopped_while_requests_are_held(nights, egon):
    night = nights(homeserver=WAKES)
    peer = egon.peer()
    peer.send(egon.request("/_matrix/federation/v1/user/keys/claim", b"{}", method="POST"))
    night.door.wait_gauge("held_requests_open", 1)
    night.door.child.signal(signal.SIGTERM)
    assert night.door.child.wait(60) == 0


# ---- settings ----

def test_switched_off_nothing_is_kept(nights, egon):
    night = nights(asleep=False)
    night.sections[2][2]["sleeps"] = "0"
    night.door.write_config(night.sections)
    night.door.reload()
    night.sleep()
    refused(night, egon.send()[1], 503)
    night.sections[2][2].pop("sleeps")  # there is a state_dir: on
    night.door.write_config(night.sections)
    night.door.reload()
    night.wait_state("asleep")
    target = egon.keep()
    night.door.reload()
    night.wake()
    night.wait_delivered([target])


def stranded(night, count, why):
    """Said in the log, in the status and in the list."""
    wait_until("it to be said", lambda: f"serve.stranded: {count} deliveries" in night.log())
    queue = night.door.status()["queue"]
    assert (queue["waiting"], queue["stranded"], queue["stranded_name"]) == (count, count, OURS)
    assert why in queue["stranded_why"]
    listed = night.door.run("queue", "list", "--socket", night.door.control).stdout
    assert listed.count(f"nobody is given it: {OURS} {queue['stranded_why']}") == count
    assert f"{count} wait for nobody: {OURS}" in night.door.run("status", "--socket", night.door.control).stdout


def reload_with(night):
    night.door.write_config(night.sections)
    night.door.reload()


def test_sleeping_is_switched_off_over_kept_ones(nights, egon):
    night = nights()
    sent = [egon.keep("one"), egon.keep("two")]
    night.sections[2][2]["sleeps"] = "0"
    reload_with(night)
    stranded(night, 2, "sleeps '0'")
    night.wake()
    night.restart(signal.SIGTERM)
    stranded(night, 2, "sleeps '0'")
    assert not night.puts()
    night.sections[2][2]["sleeps"] = "1"
    reload_with(night)
    assert [request.target.decode() for request in night.wait_delivered(sent)] == sent
    assert night.door.status()["queue"]["stranded"] == 0


def test_a_domain_goes_and_comes_back(nights, world, egon):
    night = nights()
    sent = [egon.keep("one"), egon.keep("two")]
    domain = night.sections[1]
    night.sections[1] = world.domain("two.example")
    reload_with(night)
    stranded(night, 2, "not among the domains")
    night.wake()
    night.wait_awake()
    assert not night.puts()
    night.sections[1] = domain
    reload_with(night)
    assert [request.target.decode() for request in night.wait_delivered(sent)] == sent


def test_a_homeserver_is_called_otherwise(nights, world, egon):
    """Its section has another name; it is the same homeserver."""
    night = nights()
    sent = [egon.keep("one")]
    kind, _, options = night.sections[2]
    night.sections[1:3] = [world.domain(homeserver="attic"), (kind, "attic", options)]
    reload_with(night)
    night.wake()
    night.wait_delivered(sent)


def test_a_homeserver_moves_under_a_delivery(nights, world, egon):
    """A reload says that it is elsewhere now, while it is silent about the first of what was kept."""
    night, held = nights(), threading.Event()
    other = world.server((6, 8008), answer_all)
    sent = [egon.keep("one"), egon.keep("two")]

    def script(exchange):
        exchange.read_body()
        if exchange.request.method == b"PUT":
            held.set()
            exchange.peer_left()
            exchange.close()
        else:
            exchange.respond(body=PDUS)

    night.home.script = script
    night.wake()
    wait_until("the first one to be under way", held.is_set)
    night.sections[2][2]["url"] = world.url_of(other)
    reload_with(night)
    wait_until("both", lambda: len([request for request in other.requests if request.method == b"PUT"]) >= 2)
    assert [request.target.decode() for request in other.requests if request.method == b"PUT"] == sent


def test_a_homeserver_moves_under_an_arrival(nights, world, egon):
    """A transaction began under the earlier configuration; its homeserver is elsewhere when it has come."""
    night = nights()
    other = world.server((8, 8008), answer_all)
    target = egon.name_next()
    request = egon.request(target, egon.body("slow"))
    with egon.peer() as peer:
        peer.send(request[:-10])
        night.door.wait_gauge("inbound_requests_open", 1)
        night.sections[2][2]["url"] = world.url_of(other)
        reload_with(night)
        wait_until("the other one to be found", lambda: "from=draining to=awake" in night.log())
        peer.send(request[-10:])
        assert_kept(peer.response())
    wait_until("it", lambda: [request for request in other.requests if request.target == target.encode()])


def test_state_dir_is_mended(nights, world, egon):
    """Nothing was kept for want of a directory; a reload with a better one, and it is."""
    night = nights(main={"state_dir": os.path.join(world.write("no-directory", "a file"), "sub")})
    refused(night, egon.send()[1], 503)
    night.sections[0][2]["state_dir"] = night.state_dir
    reload_with(night)
    wait_until("it to be found off again", lambda: night.door.status()["homeservers"][0]["state"] == "asleep")
    target = egon.keep("kept now")
    night.wake()
    night.wait_delivered([target])


def test_another_state_dir_waits_for_a_start(nights, world, egon):
    """What is kept does not move with a reload, and that is said."""
    night = nights()
    sent = [egon.keep("one")]
    night.sections[0][2]["state_dir"] = world.path("another-state")
    reload_with(night)
    assert "serve.queue: state_dir: taken over at the next start only" in night.log()
    sent.append(egon.keep("two"))
    night.wake()
    night.wait_delivered(sent)
    night.sections[0][2]["state_dir"] = night.state_dir
    reload_with(night)
    assert night.log().count("state_dir: taken over") == 1


def test_another_queue_limit(nights, egon):
    night = nights(homeserver={"queue_limit": "64K"})
    refused(night, egon.send("x" * 30000)[1], 503)
    night.sections[2][2]["queue_limit"] = "1M"
    reload_with(night)
    target = egon.keep("x" * 30000)
    night.wake()
    night.wait_delivered([target])


def test_an_empty_queue_is_nobodys_business(nights):
    night = nights(homeserver={"sleeps": "0"}, asleep=None)
    assert night.door.status()["queue"] is None


def test_neighbours_behind_one_door(nights, world):
    """What one of our homeservers sends to another one that sleeps is kept like anybody's."""
    night = nights(asleep=None)
    night.sleep()
    other = world.server((7, 8008))
    tenant = Tenant(world, "two.example", other)
    night.sections[1:3] = [*night.sections[1:3], world.domain(tenant.name, "two"), world.outbound(homeserver="two"),
                           ("homeserver", "two", {"url": world.url_of(other), "sleeps": "0"})]
    night.door.write_config(night.sections)
    night.restart(signal.SIGTERM)
    night.wait_state("asleep")
    target, body = tenant.name_next(), tenant.body("over the fence")
    assert_kept(tenant.hand_over(target, body))
    assert [request.target for request in other.requests] == [b"/_matrix/key/v2/server"]
    forged = tenant.hand_over(tenant.name_next(), tenant.body("x"), secret="wrong")
    assert forged.status == 407
    night.wake()
    [got] = night.wait_delivered([target])
    assert got.body == body
    assert got.get("proxy-authorization") is None
    night.wait_awake()
    live = tenant.name_next()
    assert tenant.hand_over(live, tenant.body("live")).status == 200
    got = [request for request in night.puts() if request.target == live.encode()]
    assert len(got) == 1 and got[0].get("host") == OURS.encode() and got[0].get("x-forwarded-host") == OURS.encode()


def test_forged_origins_do_not_slow_others_down(nights, world, egon):
    """Web servers that never answer a handshake hold places that are not those of our homeserver."""
    silent = []
    for number in range(3):
        name, address = f"silent{number}.test", world.address(60 + number)
        world.dns.add(name, "A", address)
        silent.append(socket.create_server((address, 443)))
    remote = Remote(world, "far.example", 70)
    night = nights(limits={"handshakes": "1", "dns_queries": "8"}, extra=[world.outbound()])
    forgers = []
    for number in range(3):
        forger = Signer(f"silent{number}.test", "ed25519:k1")
        target = f"/_matrix/federation/v1/send/forged{number}"
        line = forger.authorization("PUT", target, OURS, {})
        peer = egon.peer()
        peer.send(head("PUT", target, f"Authorization: {line}", "Content-Length: 2") + b"{}")
        forgers.append(peer)
    night.door.wait_gauge("key_fetches_open", 3)
    with world.plain_peer() as peer:
        assert peer.ask(synapse("far.example")).status == 200
    assert len(remote.federation.requests) == 1
    assert night.door.gauge("key_fetches_open") == 3, "they are still waited for"
    for listener in silent:
        listener.close()
    for peer in forgers:
        assert_error(peer.response(), 503)


def test_two_domains_two_homeservers(nights, world, egon, own_door):
    """Each gets what is its own, one of them awake all the time."""
    night = nights()
    other = world.server((5, 8008), answer_all)
    night.sections[1:3] = [*night.sections[1:3], world.domain("two.example", "two"),
                           ("homeserver", "two", {"url": world.url_of(other), "sleeps": "1"})]
    night.door.write_config(night.sections)
    night.door.reload()
    wait_until("the other homeserver", lambda: "homeserver=two from=draining to=awake" in night.log())
    kept, live = egon.keep("kept"), egon.name_next()
    request = egon.request(live, egon.body("live"), destination="two.example").replace(
        b"Host: example.org", b"Host: two.example")
    assert world.peer("two.example", source=egon.source).ask(request).status == 200
    wrong = egon.request(egon.name_next(), egon.body(), destination="two.example")
    assert_error(egon.peer().ask(wrong), 401)
    night.wake()
    night.wait_delivered([kept])
    assert [request.target.decode() for request in other.requests if request.method == b"PUT"] == [live]


def test_homeserver_on_a_unix_socket(world, egon, own_door):
    home = world.server("home.sock", answer_all)
    night = Night(world, home, own_door, world.path("state-unix"))
    os.makedirs(world.path("state-unix"), exist_ok=True)
    night.start()
    target = egon.keep()
    night.wake()
    night.wait_delivered([target])
    night.door.settle()


def test_state_in_memory_keeps_nothing(nights, egon):
    """What was acknowledged would be gone with the power."""
    state = "/dev/shm/doorstep-test-%d" % os.getpid()
    os.makedirs(state, exist_ok=True)
    try:
        night = nights(main={"state_dir": state})
        refused(night, egon.send()[1], 503)
        assert night.log().count("serve.queue") == 1
    finally:
        shutil.rmtree(state, ignore_errors=True)


# ---- much of it ----

class Traffic:
    """One origin that sends one transaction after the other, as homeservers do."""

    def __init__(self, origin, stop):
        self.origin, self.stop = origin, stop
        self.acknowledged, self.statuses, self.problem = [], {}, None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            while not self.stop.is_set():
                self.deliver(self.origin.name_next())
        except Exception as error:  # pylint: disable=broad-except
            self.problem = error

    def deliver(self, target):
        """The same until it is acknowledged."""
        body = self.origin.body(target, edus=[{"edu_type": "m.direct_to_device", "content": {
            "x": "y" * random.choice((10, 1000, 30000))}}])
        while True:
            try:
                with self.origin.peer() as peer:
                    status = peer.ask(self.origin.request(target, body)).status
            except (OSError, Cut):
                status = 0
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if status == 200:
                self.acknowledged.append(target)
                return
            if self.stop.is_set():
                return
            time.sleep(0.1)


@pytest.mark.parametrize("kills", [False, True])
def test_nothing_acknowledged_is_missing(nights, origins, kills):
    """Under load the homeserver goes and comes, in the middle of things; so does doorstep."""
    night, stop, rest = nights(asleep=False), threading.Event(), random.Random(4711)
    taken, lock = [], threading.Lock()

    def script(exchange):
        exchange.read_body()
        if rest.random() < 0.05:
            exchange.reset()
            return
        if exchange.request.method == b"PUT":
            with lock:
                taken.append(exchange.request.target.decode())
        exchange.respond(body=PDUS)

    night.home.script, night.home.cuts_allowed = script, True
    traffic = [Traffic(origin, stop) for origin in origins]
    for turn in range(6):
        time.sleep(rest.uniform(0.2, 1))
        night.sleep()
        time.sleep(rest.uniform(0.2, 1))
        if kills and turn % 2:
            night.restart(signal.SIGKILL)
        night.wake()
    stop.set()
    for one in traffic:
        one.thread.join()
    assert not [one.problem for one in traffic if one.problem]
    acknowledged = {target for one in traffic for target in one.acknowledged}
    wait_until("everything", lambda: acknowledged <= set(taken), 60)
    statuses = [one.statuses for one in traffic]
    assert sum(one.get(200, 0) for one in statuses) > 40, statuses
    for one in traffic:
        first = []  # repetitions are harmless; what is new must come in order
        for target in taken:
            if f"send/{one.origin.name}-" in target and target not in first:
                first.append(target)
        mine = [target for target in first if target in set(one.acknowledged)]
        assert mine == one.acknowledged, statuses
