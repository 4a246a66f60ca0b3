"""The same night in two worlds: the homeserver of socialnetwork24.com is off while egon writes.

A Story runs in a world and keeps what it saw; the tests judge.

Both Synapses have their own times and tries. A transaction that is refused is repeated for some minutes
before back-off begins; a refused question for devices begins it at once, and it holds for everything. So
egon asks first, as his client does before it opens a chat, and the test need not wait for those minutes.
Nobody at socialnetwork24.com sends anything meanwhile or afterwards, and nobody there shows as online:
any request of that homeserver would tell tchncs.de that it is back, and end the back-off.
"""

import json
import os
import sqlite3
import time
from urllib.parse import quote

from ..client import ApiError, Client
from ..process import wait_until
from ..traffic import read
from .people import People

PLAIN = 30       # messages in the plain room
SECRET = 6       # in the encrypted one, a new key before each third
TO_DEVICE = 12   # unencrypted, to a device of their own
PROMISED = 10.0  # seconds from the homeserver's first answer to everything being there


class Ledger:
    """The sender's own database: what it thinks of the other server, and what it still has for it."""

    def __init__(self, synapse, destination):
        self.path, self.destination = synapse.path("homeserver.db"), destination

    def rows(self, query):
        base = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=20)
        try:
            base.row_factory = sqlite3.Row
            return [dict(row) for row in base.execute(query, (self.destination,))]
        finally:
            base.close()

    def backoff(self):
        """{retry_last_ts, retry_interval, failure_ts}; {} if there is none."""
        rows = self.rows("SELECT retry_last_ts, retry_interval, failure_ts FROM destinations WHERE destination = ?")
        return rows[0] if rows and rows[0]["retry_interval"] else {}

    def unsent_rooms(self):
        """Rooms whose newest event the destination has not acknowledged."""
        return self.rows("SELECT room_id FROM destination_rooms JOIN destinations USING (destination)"
                         " WHERE destination = ? AND stream_ordering > last_successful_stream_ordering")

    def unsent_to_device(self):
        return self.rows("SELECT stream_id FROM device_federation_outbox WHERE destination = ?")

    def unsent(self):
        return self.unsent_rooms() or self.unsent_to_device()


class Night:
    """A homeserver that is off, and on again."""

    def __init__(self, synapse):
        self.synapse = synapse
        self.fell_asleep = self.answered = None  # wall clock, as in the sender's database

    def begin(self):
        assert self.synapse.stop() is not None
        self.fell_asleep = time.time()

    def end(self):
        self.synapse.start()
        wait_until("the homeserver to answer", self.answers, 90)
        self.answered = time.time()

    def answers(self):
        return self.synapse.process.check() and self.synapse.client().health()


class Story:
    def __init__(self, world, name, say):
        self.world, self.name, self.say = world, name, say
        self.ledger = self.night = self.people = None
        self.sent = {"plain": [], "secret": [], "to_device": []}
        self.profiles = []   # of reads while it was off: a name, or the status of the refusal
        self.failures = {}   # of egon's question for the devices of somebody he shares no room with
        self.backoff_seen = {}
        self.served = {}     # what anybody may ask, by path, while it was off
        self.napped = {}     # questions of the nap, and what came
        self.counted = None  # of the home door, when everything had been handed over
        # seconds from its first answer to the first message and to everything; None: not within the time
        self.first = self.delay = None

    # Before

    def prepare(self):
        self.world.start()
        home, away = self.world.home, self.world.away
        self.ledger, self.night = Ledger(away.synapse, home.server_name), Night(home.synapse)
        self.adam, self.egon = home.synapse.register("adam"), away.synapse.register("egon")
        self.adam.presence = "offline"
        self.eva = home.synapse.register("eva")
        self.people = People(os.path.join(self.world.directory, "people.log"))
        self.secret_adam = self.people.login("adam", home.synapse)
        self.secret_egon = self.people.login("egon", away.synapse)
        self.make_rooms()
        self.exchange()
        self.say(f"rooms joined, keys and profiles exchanged ({self.secret_adam.crypto})")

    def make_rooms(self):
        home, adam, egon = self.world.home, self.adam, self.egon
        adam.set_profile("displayname", "Adam")
        self.room = adam.create(preset="public_chat", name="Testraum")
        egon.join(self.room, via=home.server_name)
        self.secret_room = adam.create(preset="private_chat", name="Geheim", invite=[egon.user_id])
        egon.wait_for("the invite", lambda: self.secret_room in egon.invites)
        egon.join(self.secret_room)
        for room in (self.room, self.secret_room):
            adam.wait_member(room, egon.user_id, "join")

    def exchange(self):
        """Both speak once in each room, so that both ends have met: devices, sessions, profiles."""
        adam, egon = self.secret_adam, self.secret_egon
        for person in (adam, egon):
            wait_until(f"{person.name} to see the encrypted room", lambda p=person: self.sees_room(p), 30)
        wait_until("egon to know adam's device", lambda: adam.device_id in egon.devices(adam.user_id), 30)
        wait_until("adam to know egon's device", lambda: egon.device_id in adam.devices(egon.user_id), 30)
        for sender, reader in ((egon, adam), (adam, egon)):
            event = sender.say(self.secret_room, f"{sender.name} is here")
            wait_until(f"{reader.name} to read {sender.name}",
                       lambda r=reader, e=event, s=sender: self.reads(r, e, f"{s.name} is here"), 30)
        self.last_of_adam = self.adam.say(self.room, "good night")
        self.egon.wait_event(self.room, self.last_of_adam)
        self.adam.wait_event(self.room, self.egon.say(self.room, "sleep well"))
        assert self.egon.profile(self.adam.user_id)["displayname"] == "Adam"
        assert None not in self.ask_openly().values()
        wait_until("everything to be delivered", lambda: not self.ledger.unsent(), 30)

    def sees_room(self, person):
        seen = person.read(self.secret_room)
        return seen["encrypted"] and seen["members"] == 2

    def reads(self, person, event_id, text):
        event = person.event(self.secret_room, event_id)
        return event and event["type"] == "m.room.message" and event["body"] == text

    # Meanwhile

    def fall_asleep(self):
        self.night.begin()
        self.say("the homeserver of socialnetwork24.com is off")

    def write(self):
        """Egon begins a chat with eva, which fails, looks at adam's profile, and writes to adam."""
        self.failures = self.egon.call("POST", "/_matrix/client/v3/keys/query", {
            "device_keys": {self.eva.user_id: []}})["failures"]
        self.read_profile()
        self.served = self.ask_openly()
        for number in range(PLAIN):
            self.sent["plain"].append(self.egon.say(self.room, f"plain {number}"))
            if number % 5 == 0:
                self.write_secret(number // 5)
            if number % 3 == 0:
                self.write_to_device()
            if number == PLAIN // 2:
                self.read_receipt()
        while len(self.sent["to_device"]) < TO_DEVICE:
            self.write_to_device()
        self.read_profile()
        self.say(f"egon wrote {PLAIN} plain and {SECRET} encrypted messages, {TO_DEVICE} to a device, "
                 f"profile reads gave {self.profiles}")

    def write_secret(self, number):
        if number >= SECRET:
            return
        if number % 3 == 0:
            self.secret_egon.rekey(self.secret_room)
        text = f"secret {number}"
        self.sent["secret"].append((self.secret_egon.say(self.secret_room, text), text))

    def write_to_device(self):
        content = {"number": len(self.sent["to_device"])}
        self.egon.send_to_device("org.example.note", {self.adam.user_id: {self.adam.device_id: content}})
        self.sent["to_device"].append(content)

    def read_receipt(self):
        self.egon.call("POST", f"/_matrix/client/v3/rooms/{quote(self.room, safe='')}/receipt/m.read/"
                               f"{quote(self.last_of_adam, safe='')}", {})

    def read_profile(self):
        try:
            self.profiles.append(self.egon.profile(self.adam.user_id).get("displayname"))
        except ApiError as error:
            self.profiles.append(error.status)

    def ask_openly(self):
        """What others need to check old events, and what testers ask: {path: (JSON, age)}; None: refused."""
        home, served = self.world.home, {}
        stranger = Client(home.through_door(), home.server_name)
        for path in ("/_matrix/key/v2/server", "/_matrix/federation/v1/version"):
            status, headers, body = stranger.request("GET", path, timeout=30)
            served[path] = (json.loads(body), headers["Age"]) if status == 200 else None
        return served

    def look(self, moment):
        self.backoff_seen[moment] = self.ledger.backoff()

    # Afterwards

    def wake(self):
        self.night.end()
        self.say("it answers again")

    def adam_has(self):
        """What adam sees of what egon sent, in the order in which he sees it."""
        wanted = set(self.sent["plain"])
        plain = [event["event_id"] for event in self.adam.timeline[self.room] if event["event_id"] in wanted]
        notes = [event["content"] for event in self.adam.to_device if event["type"] == "org.example.note"]
        receipts = [note for note in self.adam.notes(self.room, "m.receipt") if self.last_of_adam in note["content"]]
        return {"plain": plain, "to_device": notes, "receipts": len(receipts)}

    def adam_reads(self):
        """The encrypted room as his client shows it."""
        wanted = {event_id for event_id, _ in self.sent["secret"]}
        return [(event["event_id"], None if event["failed"] else event["body"])
                for event in self.secret_adam.read(self.secret_room)["events"] if event["event_id"] in wanted]

    def has_everything(self):
        has = self.adam_has()
        return (len(has["plain"]) >= PLAIN and len(has["to_device"]) >= TO_DEVICE and has["receipts"] and
                sum(body is not None for _, body in self.adam_reads()) >= SECRET)

    def gather(self, seconds):
        """Looks until everything is there, for so many seconds from the first answer.

        Not too often: looking is work for the homeserver that is being measured.
        """
        while True:
            self.secret_adam.hurry()
            self.adam.sync()
            past = time.time() - self.night.answered
            if self.first is None and self.adam_has()["plain"]:
                self.first = past
            if self.has_everything():
                self.delay = past
            if self.delay is not None or past > seconds:
                return
            time.sleep(0.4)

    # Once more, with its word

    def devices_of(self, user):
        """What egon's homeserver hears of somebody he shares no room with: it asks anew each time."""
        answer = self.egon.call("POST", "/_matrix/client/v3/keys/query", {"device_keys": {user: []}})
        return {member: answer.get(member) for member in ("device_keys", "master_keys", "failures")}

    def nap(self):
        """An announced sleep: whoever was asked about before is answered, device for device."""
        home = self.world.home
        self.counted = read(home)
        ida = home.synapse.register("ida")
        device = self.people.login("ida", home.synapse).device_id
        wait_until("ida's keys", lambda: device in (self.devices_of(ida.user_id)["device_keys"].get(ida.user_id) or {}),
                   30)
        self.napped["device"] = device
        self.napped["awake"] = self.devices_of(ida.user_id)
        done = home.door.run("sleep", "nas", "--force", "--socket", home.door.control)
        assert done.returncode == 0, done
        assert self.night.synapse.stop() is not None
        self.napped["asleep"] = self.devices_of(ida.user_id)
        self.napped["stranger"] = self.devices_of(self.eva.user_id)
        self.napped["profile"] = self.egon.profile(self.adam.user_id).get("displayname")
        self.napped["backoff"] = self.ledger.backoff()
        self.say("a nap: devices and profile of who was asked about before were answered")

    def retry_in(self):
        """Seconds from the homeserver's first answer to the sender's next attempt, by the sender's own database."""
        row = self.ledger.backoff()
        return (row["retry_last_ts"] + row["retry_interval"]) / 1000 - self.night.answered if row else 0.0

    # The end

    def stop(self):
        if self.people:
            self.people.stop()
            self.people = None
        self.world.stop()

    def idle(self):
        """Both doors without a connection, once both homeservers are off."""
        self.world.stop_homeservers()
        for domain in self.world.domains:
            wait_until(f"gauges of {domain.server_name}", lambda d=domain: not read(d).busy(), 30,
                       lambda d=domain: f" (not zero: {read(d).busy()})")
