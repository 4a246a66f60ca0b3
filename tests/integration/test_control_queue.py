"""The owner's commands and the homeserver's own: sleep and wake, and what is kept."""

import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from remote import synapse
from support.process import clean_env, wait_until
from support.world import SECRET
from test_sleeping import Night, Origin, answer_all
from talk import head

ITEM = {"sequence", "state", "origin", "server_name", "at_unix_ms", "bytes", "tries", "first_try_unix_ms", "reason", "stranded"}


class House(Night):
    """With the owner's verbs, the socket, and the homeserver's listener."""

    def __init__(self, world, *args, **options):
        super().__init__(world, *args, **options)
        self.sections.insert(3, world.outbound())

    def run(self, *words, expect=0):
        done = self.door.run(*words, "--socket", self.door.control)
        assert done.returncode == expect, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout if expect == 0 else done.stderr

    def ask(self, *questions):
        """The answers on one connection."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(self.door.control)
            sock.sendall(b"".join(json.dumps({"v": 1, **question}).encode() + b"\n" for question in questions))
            lines = sock.makefile("rb")
            return [json.loads(lines.readline()) for _ in questions]

    def items(self, **question):
        [answer] = self.ask({"command": "queue-list", **question})
        return answer["items"]

    def post(self, target, *fields, secret=SECRET, method="POST"):
        proof = [f"Proxy-Authorization: Bearer {secret}"] if secret else []
        with self.world.plain_peer() as peer:
            response = peer.ask(head(method, target, *proof, *fields, "Content-Length: 0"))
            return response.status, json.loads(response.body)

    def own(self):
        """What status says of the homeserver."""
        [found] = self.door.status()["homeservers"]
        return found


@pytest.fixture(scope="module")
def servers(world):
    return [Origin(world, f"server{number}.test", 40 + number) for number in range(2)]


@pytest.fixture
def egon(servers):
    for server in servers:
        server.keys.script = server.answer
    return servers[0]


@pytest.fixture
def houses(world, home, own_door, request):
    made = []

    def make(asleep=True, **options):
        home.script = answer_all
        state = world.path(f"queue-{request.node.name[:20]}-{len(made)}".replace("[", "-").replace("]", ""))
        os.makedirs(state, exist_ok=True)
        made.append(House(world, home, own_door, state, **options))
        made[-1].store = state
        return made[-1].start(asleep)

    yield make
    world.close_peers()
    for house in made:
        if not house.is_on:
            house.wake()


def refuses(exchange):
    exchange.read_body()
    exchange.respond(status=403, body=b'{"errcode":"M_FORBIDDEN"}')


@pytest.fixture
def parked(houses, egon):
    """A house where two items are parked; the homeserver would take them now."""
    house = houses()
    for text in ("one", "two"):
        egon.keep(text)
    house.home.script = refuses
    house.wake()
    wait_until("both to be parked", lambda: house.door.status()["queue"]["parked"] == 2)
    house.home.script = answer_all
    house.home.take()
    return house


# ---- looking at the queue ----

def test_nothing_is_kept(houses):
    house = houses()
    assert house.run("queue", "list") == "nothing is kept\n"
    assert house.run("queue", "parked") == "nothing is parked\n"
    assert house.ask({"command": "queue-list"}) == [{"v": 1, "items": [], "next": None, "waiting": 0, "parked": 0}]
    queue = house.door.status()["queue"]
    assert (queue["kind"], queue["waiting"], queue["oldest_unix_ms"]) == ("lmdb", 0, None)


def test_list(houses, servers, egon):
    house = houses()
    egon.keep()
    servers[1].keep()
    first, second = house.items()
    assert set(first) == ITEM
    assert (first["origin"], second["origin"]) == ("server0.test", "server1.test")
    assert first["state"] == "waiting" and first["server_name"] == "example.org" and first["tries"] == 0
    assert first["reason"] is first["first_try_unix_ms"] is None
    assert abs(first["at_unix_ms"] / 1000 - time.time()) < 60 and 100 < first["bytes"] < 10000
    lines = house.run("queue", "list").splitlines()
    assert len(lines) == 3
    assert lines[0].split() == ["NUMBER", "STATE", "ORIGIN", "FOR", "SIZE", "AGE", "TRIES", "REASON"]
    assert re.fullmatch(r" +\d+  waiting  server0\.test  example\.org +[\d.]+ (B|KiB)  \S.* +0", lines[1])
    assert lines[1].index("server0") == lines[2].index("server1") == lines[0].index("ORIGIN")
    queue = house.door.status()["queue"]
    assert queue["waiting"] == 2 and queue["oldest_unix_ms"] == first["at_unix_ms"]
    assert queue["bytes"] == first["bytes"] + second["bytes"]
    text = house.run("status")
    assert "queue     2 waiting, 0 parked" in text and "the oldest came " in text
    assert re.search(r"^homeserver nas at http://127\.\S+: (asleep|waking) for .* \((refused|message)\)$", text, re.M), text


def test_list_in_pages(houses, egon):
    house = houses(homeserver={"queue_limit": "8M"})
    sent = [egon.keep(str(number)) for number in range(35)]
    every = [item["sequence"] for item in house.items()]
    assert len(every) == 32, "the most of a page"
    pages, after = [], 0
    while after is not None:
        [answer] = house.ask({"command": "queue-list", "after": after, "max": 10})
        pages.append([item["sequence"] for item in answer["items"]])
        after = answer["next"]
    assert [len(page) for page in pages] == [10, 10, 10, 5]
    assert sum(pages, []) == sorted(set(sum(pages, []))) and sum(pages, [])[:32] == every
    assert len(house.run("queue", "list").splitlines()) == 1 + len(sent)
    done = [json.loads(line) for line in house.run("queue", "list", "--json").splitlines()]
    assert [len(page["items"]) for page in done] == [32, 3]
    exactly = house.ask({"command": "queue-list", "after": pages[2][-1], "max": 5})[0]
    assert len(exactly["items"]) == 5 and exactly["next"] is None


def test_show(houses, egon):
    house = houses()
    target, body = egon.name_next() + "%20x?via=a%2Fb", egon.body("über \U0001f600 \"q\"\n" * 3000)
    with egon.peer() as peer:
        assert peer.ask(egon.request(target, body, both=True)).status == 200
    [item] = house.items()
    number = item["sequence"]
    [shown] = house.ask({"command": "queue-show", "sequence": number})
    assert "body" not in shown and "body_base64" not in shown
    assert shown["item"] == item
    assert (shown["method"], shown["target"], shown["content_type"]) == ("PUT", target, "application/json")
    assert shown["transaction_id"] == target.rsplit("/", 1)[1].split("?")[0].replace("%20", " ").split("%2F")[0]
    assert shown["peer"].startswith(egon.source) and shown["body_bytes"] == len(body) and not shown["head_cut"]
    assert len(shown["authorization"]) == 2 and all(line.startswith("X-Matrix ") for line in shown["authorization"])
    got, offset = "", 0
    while offset is not None:
        [piece] = house.ask({"command": "queue-show", "sequence": number, "body": True, "offset": offset})
        got += piece["body"]
        offset = piece["next_offset"]
    assert got.encode() == body
    done = subprocess.run([house.door.program, "queue", "show", str(number), "--body", "--socket", house.door.control],
                          capture_output=True, timeout=30, check=True)
    assert done.stdout == body
    text = house.run("queue", "show", str(number))
    for line in (rf"number +{number}", "state +waiting", r"from +server0\.test", r"for +example\.org",
                 rf"request +PUT {re.escape(target)}", "authorization +X-Matrix origin=", "body +[0-9]+ KiB"):
        assert re.search(f"^{line}", text, re.M), (line, text)
    assert json.loads(house.run("queue", "show", str(number), "--json")) == shown


# ---- deciding ----

def test_parked_and_retried(parked):
    first, second = parked.items(parked=True)
    assert first["state"] == "parked" and first["reason"]
    text = parked.run("queue", "parked")
    assert first["reason"] in text.splitlines()[1]
    assert "2 parked" in parked.run("status") and "doorstep queue parked" in parked.run("status")
    assert parked.run("queue", "retry", str(first["sequence"])) == \
        f"item {first['sequence']} waits for the homeserver again\n"
    wait_until("it to be handed over", lambda: len(parked.puts()) == 1)
    wait_until("it to be gone", lambda: [item["sequence"] for item in parked.items()] == [second["sequence"]])
    assert parked.door.status()["queue"]["parked"] == 1


def test_dropped(parked):
    first, second = parked.items()
    assert parked.run("queue", "drop", str(first["sequence"])) == f"item {first['sequence']} is gone\n"
    assert parked.ask({"command": "queue-drop", "sequence": second["sequence"]}) == \
        [{"v": 1, "sequence": second["sequence"], "done": True}]
    assert parked.items() == [] and parked.puts() == []
    assert "there is no item" in parked.run("queue", "drop", str(first["sequence"]), expect=1)


def test_dropped_while_waiting(houses, egon):
    """The next one of its lane takes its place."""
    house = houses()
    targets = [egon.keep(text) for text in ("one", "two")]
    house.run("queue", "drop", str(house.items()[0]["sequence"]))
    house.wake()
    house.wait_delivered(targets[1:])


def test_in_hand_is_left_alone(houses, egon):
    house, go_on = houses(), threading.Event()

    def slow(exchange):
        if exchange.request.method == b"PUT":
            assert go_on.wait(20)
        answer_all(exchange)

    target = egon.keep()
    [item] = house.items()
    house.home.script = slow
    house.wake()
    try:
        wait_until("it to be in hand", lambda: house.items()[0]["state"] == "in-hand")
        assert "being handed over" in house.run("queue", "drop", str(item["sequence"]), expect=1)
        assert "not parked" in house.run("queue", "retry", str(item["sequence"]), expect=1)
    finally:
        go_on.set()
    house.wait_delivered([target])


@pytest.mark.parametrize("question, error", [
    ({"command": "queue-show"}, "sequence: the number of an item is missing"),
    ({"command": "queue-show", "sequence": 0}, "sequence: the number of an item is missing"),
    ({"command": "queue-show", "sequence": -1}, "sequence: the number of an item is missing"),
    ({"command": "queue-show", "sequence": "1"}, "sequence: the number of an item is missing"),
    ({"command": "queue-show", "sequence": 99}, "there is no item 99"),
    ({"command": "queue-retry", "sequence": 99}, "there is no item 99"),
    ({"command": "queue-drop", "sequence": 99}, "there is no item 99"),
    ({"command": "queue-list", "max": 0}, "after and max are numbers, max is not 0"),
    ({"command": "queue-list", "after": "x"}, "after and max are numbers, max is not 0"),
    ({"command": "sleep", "homeserver": "nose"}, "there is no homeserver 'nose' in the configuration"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_mistakes_on_the_socket(houses, question, error):
    assert houses(asleep=False).ask(question) == [{"v": 1, "error": error}]


def test_mistakes_of_verbs(houses):
    house = houses(asleep=False)
    for words in (["queue"], ["queue", "lst"], ["queue", "show"], ["queue", "show", "x"], ["queue", "drop", "0"],
                  ["queue", "verify"], ["sleep", "a", "b"], ["wake", "--force"]):
        done = house.door.run(*words)
        assert done.returncode == 2 and "--help" in done.stderr, (words, done)
    for words in (["queue"], ["queue", "list"], ["queue", "parked"], ["queue", "show"], ["queue", "retry"],
                  ["queue", "drop"], ["queue", "verify"], ["sleep"], ["wake"]):
        done = house.door.run(*words, "--help")
        assert done.returncode == 0 and done.stdout.startswith(f"usage: doorstep {' '.join(words)} "), words
    done = house.door.run("queue", "list", "--socket", "/nonexistent/x.sock")
    assert done.returncode == 1 and "is doorstep running" in done.stderr


def test_nobody_sleeps(world, home, own_door):
    door = own_door(world.sections(home, world.outbound()))
    assert door.status()["queue"] is None
    assert door.status()["homeservers"] == [{"section": "nas", "url": world.url_of(home), "sleeps": False}]
    for words, text in ((["queue", "list"], "nothing is kept"), (["sleep"], "no homeserver sleeps"),
                        (["wake", "nas"], "no option sleeps '1'")):
        done = door.run(*words, "--socket", door.control)
        assert done.returncode == 1 and text in done.stderr, done
    with world.plain_peer() as peer:
        response = peer.ask(head("POST", "/_doorstep/sleep", f"Proxy-Authorization: Bearer {SECRET}",
                                 "Content-Length: 0"))
        assert response.status == 404


# ---- a closed store ----

def test_verify(houses, egon):
    house = houses()
    egon.keep()
    busy = house.door.run("queue", "verify", "--config", house.door.config)
    assert busy.returncode == 1 and "doorstep" in busy.stderr, busy
    assert not house.door.stop()
    done = house.door.run("queue", "verify", "--config", house.door.config)
    assert done.returncode == 0 and "1 waiting, 0 parked" in done.stdout and "is whole" in done.stdout, done
    report = json.loads(house.door.run("queue", "verify", "--json", "--config", house.door.config).stdout)
    assert report["whole"] is True and report["items"] == 1 and report["damaged"] == 0
    with open(os.path.join(house.store, "queue", "data.mdb"), "r+b") as store:
        store.truncate(5000)
    broken = house.door.run("queue", "verify", "--config", house.door.config)
    assert broken.returncode == 1, broken
    for name in os.listdir(house.store):
        if name.startswith("queue"):
            path = os.path.join(house.store, name)
            (shutil.rmtree if os.path.isdir(path) else os.remove)(path)
    gone = house.door.run("queue", "verify", "--config", house.door.config)
    assert gone.returncode == 1 and "there is no queue here" in gone.stderr, gone
    assert not [name for name in os.listdir(house.store) if name.startswith("queue")]


def as_nobody(door, *words):
    user = pwd.getpwnam("nobody").pw_uid
    return subprocess.run(["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", door.program, *words],
                          capture_output=True, text=True, timeout=30, check=False, env=clean_env())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_what_may_not_be_looked_at_is_not_empty(houses, egon):
    """Another user than doorstep's asks: nobody is told that nothing is kept."""
    house = houses()
    egon.keep()
    assert not house.door.stop()
    for words in (["count", "--state-dir", house.store], ["verify", "--config", house.door.config],
                  ["export", "--state-dir", house.store, "/tmp/never-written"],
                  ["import", "--state-dir", house.store, "/dev/null"]):
        done = as_nobody(house.door, "queue", *words)
        assert done.returncode == 1 and not done.stdout, done
        assert "Permission denied" in done.stderr, done
    assert house.door.run("queue", "count", "--state-dir", house.store).stdout == "1\n"
    assert house.door.run("queue", "count", "--state-dir", "/nowhere/" + "x" * 2000).returncode == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_socket_of_somebody_else(houses):
    house = houses()
    for directory in (house.world.directory, house.door.directory):
        os.chmod(directory, 0o711)
    done = as_nobody(house.door, "status", "--socket", house.door.control)
    assert done.returncode == 1 and "Permission denied; run it as root, or as the user of doorstep" in done.stderr, done


def test_nothing_is_left_of_a_damaged_store(houses, egon, tmp_path):
    """What was kept cannot be exported: that is no success, and said with the name of what is left."""
    house = houses()
    egon.keep()
    assert not house.door.stop()
    with open(os.path.join(house.store, "queue", "data.mdb"), "r+b") as store:
        store.truncate(5000)
    done = house.door.run("queue", "export", "--state-dir", house.store, str(tmp_path / "out"))
    assert done.returncode == 1 and "moved aside" in done.stderr, done
    assert not os.path.exists(tmp_path / "out")
    done = house.door.run("queue", "export", "--state-dir", house.store, str(tmp_path / "out"))
    assert done.returncode == 0 and done.stdout.startswith("nothing is kept in"), done


# ---- sleep and wake ----

def test_sleep_and_wake_by_hand(houses):
    house = houses(asleep=False)
    house.wait_awake()
    wait_until("nothing to speak against it", lambda: house.own()["must_stay"] is None)
    assert house.run("sleep") == "nas: asleep (announced)\n"
    own = house.own()
    assert (own["state"], own["why"], own["announced"], own["next_look_ms"]) == ("asleep", "announced", True, None)
    assert house.run("wake", "nas").startswith("nas: waking (")
    house.wait_awake()
    assert house.run("wake", "nas").startswith("nas: awake (")


def test_sleep_is_put_off(houses, servers):
    """It sent something that others will ask about."""
    house = houses(asleep=False, homeserver={"sleep_grace": "1h"})
    house.wait_awake()
    with house.world.plain_peer() as peer:
        peer.ask(synapse("server1.test", "/_matrix/federation/v1/send/1", method="PUT", body=b"{}"))
    text = house.run("sleep", expect=1)
    assert "nas should stay up: its own messages are still going out (sending)" in text and "--force" in text, text
    wait_until("its messages to be out", lambda: house.own()["must_stay"] == "questions")
    text = house.run("sleep", expect=1)
    assert "(questions); ask again in 59 minutes, or --force" in text, text
    [answer] = house.ask({"command": "sleep"})
    assert answer["done"] is False and answer["reason"] == "questions" and answer["wait_ms"] > 3000000
    assert house.own()["stay_ms"] > 3000000
    done = house.door.run("sleep", "--json", "--socket", house.door.control)
    assert done.returncode == 1 and json.loads(done.stdout)["done"] is False
    assert house.post("/_doorstep/sleep")[0] == 409
    assert house.own()["state"] == "awake"
    house.run("sleep", "nas", "--force")
    assert house.own()["state"] == "asleep"


def test_own_requests_that_nobody_asks_about(houses, servers):
    house = houses(asleep=False, homeserver={"sleep_grace": "1h"})
    house.wait_awake()
    with house.world.plain_peer() as peer:
        peer.ask(synapse("server1.test", "/_matrix/federation/v1/version"))
    [answer] = house.ask({"command": "sleep"})
    assert answer["done"] is False and answer["reason"] == "sending" and answer["wait_ms"] <= 10000
    wait_until("it to be free to sleep", lambda: house.own()["must_stay"] is None)


def test_own_requests_tell_that_it_is_awake(houses, servers):
    """Long before the next probe would."""
    house = houses(homeserver={"probe_interval": "1h"})
    house.wake()
    with house.world.plain_peer() as peer:
        peer.ask(synapse("server1.test", "/_matrix/federation/v1/version"))
    house.wait_awake()


def test_the_homeserver_says_so(houses, egon):
    house = houses(asleep=False)
    house.wait_awake()
    wait_until("nothing to speak against it", lambda: house.own()["must_stay"] is None)
    assert house.post("/_doorstep/sleep") == (200, {"done": True, "state": "asleep"})
    assert house.own()["announced"] is True
    target = egon.keep()
    status, answer = house.post("/_doorstep/wake")
    assert status == 200 and answer["done"] is True
    house.wait_delivered([target])


def test_not_yet(houses, egon):
    """It is being given what was kept."""
    house, go_on = houses(), threading.Event()

    def slow(exchange):
        if exchange.request.method == b"PUT":
            assert go_on.wait(20)
        answer_all(exchange)

    egon.keep()
    house.home.script = slow
    house.wake()
    try:
        wait_until("it to be in hand", lambda: house.items()[0]["state"] == "in-hand")
        status, answer = house.post("/_doorstep/sleep")
        assert (status, answer["done"], answer["reason"]) == (409, False, "handing-over")
        assert answer["wait_ms"] > 0
        assert house.post("/_doorstep/sleep?force=1")[0] == 200
        assert house.own()["state"] == "asleep"
    finally:
        go_on.set()


@pytest.mark.parametrize("secret", [None, "wrong", SECRET + "x"])
def test_strangers_do_not_say_so(houses, secret):
    house = houses(asleep=False)
    house.wait_awake()
    assert house.post("/_doorstep/sleep", secret=secret)[0] == 407
    assert house.post("/_doorstep/sleep?force=1", secret=secret)[0] == 407
    assert house.own()["state"] == "awake"


def test_nothing_else_in_origin_form(houses):
    house = houses(asleep=False)
    house.wait_awake()
    for method, target, status in (("GET", "/_doorstep/sleep", 405), ("PUT", "/_doorstep/wake", 405),
                                   ("POST", "/_doorstep/", 400), ("POST", "/_doorstep/sleep/", 400),
                                   ("POST", "/_doorstep/sleep?force=2", 400), ("POST", "/_doorstep/wake?force=1", 400),
                                   ("POST", "/_matrix/federation/v1/version", 400),
                                   ("POST", "matrix-federation://example.org/_doorstep/sleep", 404)):
        assert house.post(target, method=method)[0] == status, target
    assert house.own()["state"] == "awake"
    assert not [request for request in house.home.requests if b"_doorstep" in request.target]


def test_not_at_the_public_door(houses):
    house = houses(asleep=False)
    with house.world.peer() as peer:
        assert peer.ask(head("POST", "/_doorstep/sleep?force=1", f"Proxy-Authorization: Bearer {SECRET}",
                             "Content-Length: 0")).status == 404
    assert house.own()["announced"] is False
