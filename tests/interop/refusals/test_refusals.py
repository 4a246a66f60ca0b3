"""What a real Synapse makes of each refusal of a door whose homeserver sleeps: does it stop its deliveries?

egon at tchncs.de does what makes his homeserver ask socialnetwork24.com; that one question is refused, and then
the `destinations` table of his homeserver tells. The statuses of src/fed/asleep.c rest on this: where one
that spares the sender's deliveries gives the people the same outcome as 503, it is the better one.
The whole table is printed and left in build/results/refusals.txt.
"""

import itertools
import os
import time
from urllib.parse import quote

import pytest

from ..client import ApiError
from ..process import wait_until
from ..sleep.story import Ledger
from ..test_devices import publish
from ..world import ROOT, World
from .meddler import Meddler

RESULT = os.path.join(ROOT, "build", "results", "refusals.txt")
FEDERATION = "/_matrix/federation/v[12]/"

AWAY = (503, "M_UNKNOWN")
SPARED = (424, "M_UNKNOWN")
OTHER_SERVER = (400, "M_UNABLE_TO_GRANT_JOIN")
COMPARED = ((429, "M_LIMIT_EXCEEDED"), (401, "M_UNAUTHORIZED"), (403, "M_FORBIDDEN"), (404, "M_NOT_FOUND"))

STARTS, SPARES = True, False

WRITTEN_S = 1.5  # Synapse writes its back-off down a little after it answered its client


class MeddledWorld(World):
    """The door of socialnetwork24.com takes the meddler for its homeserver."""

    def make_domains(self):
        super().make_domains()
        here, port = self.address("0.3"), 8008
        listen = self.home.synapse.listen
        self.meddler = Meddler(here, port, (listen["address"], listen["port"]))
        self.home.homeserver_url = lambda: f"http://{here}:{port}"

    def start(self):
        super().start()
        self.meddler.start()


class Asking:
    """Each method makes tchncs.de ask one question that it has not asked before."""

    def __init__(self, world):
        self.home, self.away = world.home, world.away
        self.adam, self.egon = self.home.synapse.register("adam"), self.away.synapse.register("egon")
        self.numbers = itertools.count()
        self.shared = self.adam.create(preset="public_chat")
        self.egon.join(self.shared, via=self.home.server_name)
        self.old = [self.adam.say(self.shared, f"before {number}") for number in range(3)]
        self.egon.wait_event(self.shared, self.old[-1])

    def somebody(self):
        return self.home.synapse.register(f"somebody{next(self.numbers)}")

    def profile(self):
        name = self.somebody().user_id
        return lambda: self.egon.profile(name)

    def directory(self):
        alias = f"raum{next(self.numbers)}"
        self.adam.create(preset="public_chat", room_alias_name=alias)
        path = "/_matrix/client/v3/directory/room/" + quote(f"#{alias}:{self.home.server_name}")
        return lambda: self.egon.call("GET", path)

    def keys_query(self):
        body = {"device_keys": {self.somebody().user_id: []}}
        return lambda: self.egon.call("POST", "/_matrix/client/v3/keys/query", body)

    def keys_claim(self):
        friend = self.somebody()
        publish(friend, 1)
        body = {"one_time_keys": {friend.user_id: {friend.device_id: "signed_curve25519"}}}
        return lambda: self.egon.call("POST", "/_matrix/client/v3/keys/claim", body)

    def user_devices(self):
        friend = self.somebody()
        publish(friend, 1)
        friend.join(self.shared)
        self.egon.wait_member(self.shared, friend.user_id, "join")
        body = {"device_keys": {friend.user_id: []}}
        return lambda: self.egon.call("POST", "/_matrix/client/v3/keys/query", body)

    def media(self):
        mxc = self.adam.upload(os.urandom(100))
        return lambda: self.egon.download(mxc)

    def join(self):
        room = self.adam.create(preset="public_chat")
        return lambda: self.egon.join(room, via=self.home.server_name)

    def invite(self):
        room = self.egon.create(preset="private_chat")
        return lambda: self.egon.invite(room, self.adam.user_id)

    def leave(self):
        room = self.adam.create(preset="private_chat", invite=[self.egon.user_id])
        self.egon.wait_for("the invite", lambda: room in self.egon.invites)
        return lambda: self.egon.leave(room)

    def public_rooms(self):
        query = {"server": self.home.server_name, "limit": 1 + next(self.numbers)}
        return lambda: self.egon.call("GET", "/_matrix/client/v3/publicRooms", query=query)

    def hierarchy(self):
        room = self.adam.create(preset="public_chat")
        space = self.adam.create(preset="public_chat", creation_content={"type": "m.space"}, initial_state=[{
            "type": "m.space.child", "state_key": room, "content": {"via": [self.home.server_name]}}])
        self.egon.join(space, via=self.home.server_name)
        return lambda: self.egon.call("GET", f"/_matrix/client/v1/rooms/{quote(space, safe='')}/hierarchy")

    def backfill(self):
        room = self.adam.create(preset="public_chat")
        for number in range(30):
            self.adam.say(room, f"long ago {number}")
        self.egon.join(room, via=self.home.server_name)
        return lambda: self.egon.call("GET", f"/_matrix/client/v3/rooms/{quote(room, safe='')}/messages",
                                      query={"dir": "b", "limit": 20})


# endpoint, how it comes to be asked, what is refused, the refusal of src/fed/asleep.c, what it does
ROWS = [
    ("profile", Asking.profile, f"GET {FEDERATION}query/profile", SPARED, SPARES),
    ("directory", Asking.directory, f"GET {FEDERATION}query/directory", SPARED, SPARES),
    ("keys-query", Asking.keys_query, f"POST {FEDERATION}user/keys/query", SPARED, SPARES),
    ("keys-claim", Asking.keys_claim, f"POST {FEDERATION}user/keys/claim", SPARED, SPARES),
    ("user-devices", Asking.user_devices, f"GET {FEDERATION}user/devices/", SPARED, SPARES),
    ("media-download", Asking.media, f"GET {FEDERATION}media/download/", SPARED, SPARES),
    ("backfill", Asking.backfill, f"GET {FEDERATION}backfill/", SPARED, SPARES),
    ("make-join", Asking.join, f"GET {FEDERATION}make_join/", OTHER_SERVER, SPARES),
    ("send-join", Asking.join, f"PUT {FEDERATION}send_join/", AWAY, STARTS),
    ("invite", Asking.invite, f"PUT {FEDERATION}invite/", AWAY, SPARES),
    ("make-leave", Asking.leave, f"GET {FEDERATION}make_leave/", AWAY, SPARES),
    ("public-rooms", Asking.public_rooms, f"GET {FEDERATION}publicRooms", AWAY, SPARES),
    ("hierarchy", Asking.hierarchy, f"GET {FEDERATION}hierarchy/", AWAY, STARTS),
]


@pytest.fixture(scope="module")
def world(request):
    terminal = request.config.pluginmanager.getplugin("terminalreporter")
    folder = os.path.join(ROOT, "build", "interop", "refusals")
    it = MeddledWorld(folder, network="127.27", log=lambda line: terminal.write_line(f"refusals: {line}"))
    it.start()
    yield it
    it.stop()
    it.meddler.stop()


@pytest.fixture(scope="module")
def asking(world):
    return Asking(world)


@pytest.fixture(scope="module")
def measured(world):
    lines = []
    yield lines
    os.makedirs(os.path.dirname(RESULT), exist_ok=True)
    with open(RESULT, "w", encoding="ascii") as out:
        out.write("endpoint         refused with                     asked  deliveries   the person sees\n")
        out.writelines(f"{line}\n" for line in lines)


def look_for(probe, seconds):
    """What probe returns, as soon as that is something, or nothing after that time."""
    deadline = time.monotonic() + seconds
    found = probe()
    while not found and time.monotonic() < deadline:
        time.sleep(0.1)
        found = probe()
    return found


def outcome(do):
    try:
        answer = do()
    except ApiError as error:
        return f"{error.status} {error.errcode}"
    failures = isinstance(answer, dict) and answer.get("failures")
    return "failures " + ", ".join(f"{key}: {value.get('status')}" for key, value in failures.items()) \
        if failures else "200"


def measure(world, asking, ask, pattern, refusal):
    """(times asked, back-off or {}, what egon's client sees)"""
    ledger = Ledger(world.away.synapse, world.home.server_name)
    do = ask(asking)
    wait_until("everything to be delivered", lambda: not ledger.unsent(), 30)
    world.meddler.refuse(pattern, *refusal)
    try:
        sees = outcome(do)
    finally:
        world.meddler.pass_all()
    backoff = look_for(ledger.backoff, WRITTEN_S)
    if backoff:  # a signed request from there ends it
        asking.adam.profile(asking.egon.user_id)
        wait_until("the back-off to end", lambda: not ledger.backoff(), 30)
    return len(world.meddler.seen), backoff, sees


def describe(name, refusal, asked, backoff, sees):
    stop = f"stop {backoff['retry_interval'] // 1000} s" if backoff else "go on"
    return f"{name:<16} {refusal[0]} {refusal[1]:<28} {asked:>5}  {stop:<11}  {sees}"


@pytest.mark.parametrize("name, ask, pattern, refusal, starts", ROWS, ids=[row[0] for row in ROWS])
def test_refusal(world, asking, measured, name, ask, pattern, refusal, starts):
    asked, backoff, sees = measure(world, asking, ask, pattern, refusal)
    measured.append(describe(name, refusal, asked, backoff, sees))
    print(measured[-1])
    assert asked > 0, "nothing was asked"
    assert bool(backoff) == starts


@pytest.mark.parametrize("name, ask, pattern, chosen, _", ROWS, ids=[row[0] for row in ROWS])
def test_alternatives(world, asking, measured, name, ask, pattern, chosen, _):
    """For the table of what else could be said: 401 and 429 are no better than 503, and 424 spares everywhere."""
    others = [refusal for refusal in (AWAY, SPARED, *COMPARED) if refusal != chosen]
    found = {}
    for refusal in others:
        asked, backoff, sees = measure(world, asking, ask, pattern, refusal)
        measured.append(describe(name, refusal, asked, backoff, sees))
        print(measured[-1])
        found[refusal[0]] = bool(backoff)
    assert found[429] == found[401] == found.get(503, found[429])
    assert not found.get(424)
