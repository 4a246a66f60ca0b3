"""Two Matrix domains that meet only at their doors: what scripts/demo shows."""

import argparse
import concurrent.futures
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from urllib.parse import quote

from interop.client import Client, Tls
from interop.process import WorldError
from interop.zone import NameServer

from .door import ROOT, Door
from .pki import Authority
from .process import Child, Failure, require_free, wait_until

HOME, AWAY = "socialnetwork24.com", "tchncs.de"
INTERESTING = (  # counters of a door worth a line, and what they mean
    ("outbound_requests", "requests of its homeserver, taken at {outbound}"),
    ("resolve_lookups", "server names looked up"),
    ("outbound_dials", "connections opened to the other door"),
    ("outbound_reused", "requests sent on a connection that was kept"),
    ("inbound_requests_federation", "federation requests of the other server, taken at {public}"),
    ("inbound_requests_well_known", ".well-known documents served"),
    ("inbound_requests_client", "client requests, taken at {public}"),
    ("queue_accepted", "deliveries of other servers acknowledged and kept"),
    ("queue_delivered", "kept deliveries handed over to the homeserver"),
)


def say(text=""):
    print(text, flush=True)


def indent(text, by="      "):
    return "\n".join(by + line for line in text.rstrip().splitlines())


class Domain:
    """A server name: its stand-in homeserver and its door."""

    def __init__(self, demo, server_name, number, sleeps=False):
        self.demo, self.server_name, self.sleeps = demo, server_name, sleeps
        self.address = f"{demo.network}.{number}.1"
        self.homeserver = f"{demo.network}.{number}.2"
        self.directory = os.path.join(demo.directory, server_name)
        os.makedirs(self.directory)
        self.matrix_host = f"matrix.{server_name}"
        self.outbound, self.public = f"{self.address}:8009", f"{self.address} (443, 8448)"
        self.secret_file = os.path.join(self.directory, "outbound.secret")
        with open(self.secret_file, "w", encoding="ascii") as out:
            out.write(os.urandom(24).hex() + "\n")
        self.door = self.child = None

    def ports(self):
        return [(self.address, 443), (self.address, 8448), (self.address, 8009), (self.homeserver, 8008)]

    def start(self, delegate):
        certificate = self.demo.authority.issue(self.server_name, self.matrix_host)
        self.door = Door(os.path.join(self.demo.run, self.server_name), [
            ("doorstep", "main", {"dns": f"{self.demo.dns_address}:53", "log_level": "info",
                                  "ca_file": self.demo.authority.file, "allow_range": ["127.0.0.0/8"],
                                  "state_dir": self.directory}),
            ("domain", "home", {"server_name": self.server_name, "homeserver": "nas", "delegate": delegate,
                                "client_url": f"https://{self.matrix_host}",
                                "expose": ["federation", "media", "client"],
                                "certificate": [certificate.chain], "key": [certificate.key]}),
            ("homeserver", "nas", {"url": f"http://{self.homeserver}:8008",
                                   **({"sleeps": "1", "probe_interval": "2s"} if self.sleeps else {})}),
            *(("listen", f"port{port}", {"address": self.address, "port": str(port)}) for port in (443, 8448)),
            ("outbound", "lan", {"mode": "matrix-federation", "listen": f"{self.address}:8009",
                                 "homeserver": "nas", "secret_file": self.secret_file}),
        ])
        self.door.start()
        self.child = Child(f"homeserver of {self.server_name}", [
            sys.executable, "-m", "support.homeserver", "--server-name", self.server_name,
            "--listen", f"{self.homeserver}:8008", "--outbound", f"{self.address}:8009",
            "--secret-file", self.secret_file], os.path.join(self.directory, "homeserver.log"))
        self.child.start()

    def wait_ready(self):
        self.child.wait_ready(lambda: "is ready" in self.child.log_text())
        wait_until("the door to find its homeserver", lambda: all(
            homeserver["state"] == "awake" for homeserver in self.door.status()["homeservers"]))

    def suspend(self):
        """Closes the lid of the homeserver."""
        self.child.signal(signal.SIGUSR1)
        wait_until("the homeserver to sleep", lambda: not self.answers())

    def resume(self):
        self.child.signal(signal.SIGUSR2)

    def answers(self):
        try:
            socket.create_connection((self.homeserver, 8008), 5).close()
        except ConnectionRefusedError:
            return False
        return True

    def lose_power(self):
        """The door's machine: no good-bye, and it is back at once."""
        self.door.child.signal(signal.SIGKILL)
        self.door.child.wait()
        self.door.start()

    def answers_to_deliveries(self, destination):
        """What other servers said to its transactions, in order."""
        return re.findall(rf"^asked {re.escape(destination)}: PUT /_matrix/federation/v1/send/\S+ -> (\d+)$",
                          self.child.log_text(), re.MULTILINE)

    def register(self, name):
        client = Client(Tls(self.matrix_host, self.address, 443, self.demo.authority.file), self.server_name)
        client.adopt(client.call("POST", "/_matrix/client/v3/register",
                                 {"username": name, "displayname": name.capitalize()}))
        return client

    def resolve_text(self, name):
        return self.door.run("resolve", name, "--config", self.door.config).stdout

    def stop(self):
        """What was wrong, "" if nothing."""
        if self.child:
            self.child.stop()
        return self.door.stop() if self.door else ""


class StandIns:
    """The network of the demo with stand-in homeservers."""

    kind = "a stand-in that the tests use; it signs and checks real events"
    login = "log in, through their own doors"

    def __init__(self, network, sleep=False):
        self.network, self.dns_address, self.sleep = network, f"{network}.9.1", sleep
        self.directory = os.path.join(ROOT, "build", "demo")
        self.run = self.authority = self.names = None
        self.domains = []

    def start(self):
        shutil.rmtree(self.directory, ignore_errors=True)
        os.makedirs(self.directory)
        self.run = tempfile.mkdtemp(prefix="doorstep-demo-")  # short: socket paths
        self.authority = Authority(os.path.join(self.directory, "pki"))
        self.domains = [Domain(self, HOME, 0, self.sleep), Domain(self, AWAY, 1)]
        for where in [(self.dns_address, 53), *self.domains[0].ports(), *self.domains[1].ports()]:
            require_free(*where)
        self.start_names()
        home, away = self.domains
        home.start(f"{home.matrix_host}:8448")
        away.start(None)
        for domain in self.domains:
            domain.wait_ready()

    def start_names(self):
        self.names = NameServer(self.dns_address, 53, self.directory)
        for domain in self.domains:
            self.names.domain(domain.server_name)
            for name in (domain.server_name, domain.matrix_host):
                self.names.host(name, domain.address)
        self.names.service(f"_matrix-fed._tcp.{AWAY}", f"matrix.{AWAY}", 8448)
        self.names.start()

    def describe(self):
        home, away = self.domains
        return [(home, f"homeserver {home.homeserver}:8008", "found by its .well-known file"),
                (away, f"homeserver {away.homeserver}:8008", "found by an SRV record")]

    def stop(self):
        problems = [problem for domain in self.domains if (problem := domain.stop())]
        if self.names:
            self.names.process.stop()
        if self.run:
            shutil.rmtree(self.run, ignore_errors=True)
        return problems


class Synapses:
    """The network of the interop tests: a real Synapse behind each door."""

    kind = "Synapse, where it runs no name resolves"
    login = "get accounts at their homeservers"

    def __init__(self, _):
        from interop.world import World  # pylint: disable=import-outside-toplevel
        self.world = World(os.path.join(ROOT, "build", "demo"), log=lambda line: say(f"  {line}"))
        self.directory = self.world.directory
        self.domains = []

    def start(self):
        self.world.start()
        self.domains = [SynapseDomain(domain) for domain in self.world.domains]

    def describe(self):
        home, away = self.domains
        return [(home, home.domain.homeserver_url(), "found by an SRV record"),
                (away, away.domain.homeserver_url(), "found by its .well-known file")]

    def stop(self):
        self.world.stop()
        return [f"doorstep of {name} ended with {status}" for name, status in self.world.statuses.items() if status]


class SynapseDomain:
    def __init__(self, domain):
        self.domain, self.door, self.server_name = domain, domain.door, domain.server_name
        self.outbound = domain.outbound_address()
        self.public = f"{domain.address} ({', '.join(map(str, domain.ports))})"

    def register(self, name):
        return self.domain.synapse.register(name)

    def resolve_text(self, name):
        return self.door.run("resolve", name, "--config", self.door.config).stdout


class Story:
    """What happens, and after each step what the doors counted."""

    def __init__(self, world):
        self.world, self.number, self.woken = world, 0, 0
        self.before = {}

    def counters(self):
        return {domain.server_name: domain.door.status()["counters"] for domain in self.world.domains}

    def step(self, title):
        self.number += 1
        self.before = self.counters()
        say(f"\n{self.number}. {title}")

    def travelled(self):
        """Prints what the doors counted since the step began."""
        now = self.counters()
        for domain in self.world.domains:
            name = domain.server_name
            changes = [(now[name][key] - self.before[name][key], meaning) for key, meaning in INTERESTING]
            if any(count for count, _ in changes):
                say(f"   door of {name}:")
            for count, meaning in changes:
                if count:
                    say(f"      {count:3}  {meaning.format(outbound=domain.outbound, public=domain.public)}")

    def tell(self):
        home, away = self.world.domains
        self.step("How do the doors find each other?")
        for here, there in ((away, home), (home, away)):
            say(f"   $ doorstep resolve {there.server_name}        (at the door of {here.server_name})")
            say(indent(here.resolve_text(there.server_name)))
        self.step(f"@adam:{HOME} and @egon:{AWAY} {self.world.login}")
        adam, egon = home.register("adam"), away.register("egon")
        self.travelled()
        self.direct(adam, egon)
        self.room(adam, egon)

    def direct(self, adam, egon):
        self.step("egon invites adam to a direct chat and writes to him")
        room = egon.create(preset="trusted_private_chat", is_direct=True, invite=[adam.user_id])
        adam.wait_for("the invite", lambda: adam.invites.get(room))
        adam.join(room)
        egon.wait_member(room, adam.user_id, "join")
        self.say_and_wait(egon, adam, room, "Hallo Adam, hier ist Egon.")
        self.say_and_wait(adam, egon, room, "Egon! Schön, dass du anklopfst.")
        self.travelled()

    def room(self, adam, egon):
        alias = f"#testraum:{HOME}"
        self.step(f"adam opens {alias}, egon joins it by that name and writes into it")
        room = adam.create(preset="public_chat", room_alias_name="testraum", name="Testraum")
        egon.join(alias)
        adam.wait_member(room, egon.user_id, "join")
        self.say_and_wait(egon, adam, room, "Ist das hier der Testraum?")
        self.say_and_wait(adam, egon, room, "Ja. Komm herein!")
        self.travelled()

    @staticmethod
    def say_and_wait(sender, receiver, room, text):
        began = time.monotonic()
        event = receiver.wait_event(room, sender.say(room, text))
        took = (time.monotonic() - began) * 1000
        say(f"   {event['sender']}: {event['content']['body']}   "
            f"(read by {receiver.user_id} after {took:.0f} ms)")


class SleepStory(Story):
    """The same two, while adam's homeserver is off in between."""

    def tell(self):
        home, away = self.world.domains
        self.step(f"@adam:{HOME} and @egon:{AWAY} {self.world.login}; egon invites adam and writes to him")
        adam, egon = home.register("adam"), away.register("egon")
        room = egon.create(preset="trusted_private_chat", is_direct=True, invite=[adam.user_id])
        adam.wait_for("the invite", lambda: adam.invites.get(room))
        adam.join(room)
        egon.wait_member(room, adam.user_id, "join")
        self.say_and_wait(egon, adam, room, "Hallo Adam, hier ist Egon.")
        self.say_and_wait(adam, egon, room, "Egon! Ich mache jetzt den Rechner aus. Gute Nacht!")
        self.step(f"The machine with the homeserver of {HOME} goes to sleep")
        home.suspend()
        say(f"   nothing answers at {home.homeserver}:8008 any more; the door stays up")
        self.step("egon writes all the same")
        events = [self.say_and_keep(egon, away, room, text) for text in (
            "Schläfst du schon?", "Ich wollte nur sagen: morgen um zehn am Testraum.",
            "Und bring Kuchen mit.")]
        self.travelled()
        self.step(f"The router of {HOME} loses its power, too (kill -9), and comes back")
        home.lose_power()
        say("   the homeserver still sleeps; nobody noticed anything")
        events.append(self.say_and_keep(egon, away, room, "Schokoladenkuchen, bitte."))
        self.ask_and_wake(egon, adam, home)
        self.read(adam, room, events)
        self.say_and_wait(adam, egon, room, "Guten Morgen! Kuchen kommt.")
        self.travelled()
        self.check(away)

    @staticmethod
    def say_and_keep(sender, domain, room, text):
        """Written, and acknowledged by the other server's door."""
        before, began = len(domain.answers_to_deliveries(HOME)), time.monotonic()
        event = sender.say(room, text)
        answer = wait_until("an answer", lambda: domain.answers_to_deliveries(HOME)[before:], 30)[0]
        took = (time.monotonic() - began) * 1000
        say(f"   {sender.user_id}: {text}   ({HOME} says {answer} to {AWAY} after {took:.0f} ms)")
        if answer != "200":
            raise Failure(f"the delivery was answered with {answer}")
        return event

    def ask_and_wake(self, asker, asked, home):
        """A question waits at the door until the homeserver is there to answer it."""
        self.step(f"egon looks at adam's profile; while he waits, the homeserver of {HOME} is switched on")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            began = time.monotonic()
            profile = pool.submit(asker.call, "GET", f"/_matrix/client/v3/profile/{quote(asked.user_id)}")
            home.door.wait_gauge("held_requests_open", 1)
            say("   the question is held at the door")
            home.resume()
            self.woken = time.monotonic()
            name = profile.result(30)["displayname"]
            say(f"   the profile of {asked.user_id} says {name}, after {time.monotonic() - began:.1f} s")
        self.travelled()

    def read(self, reader, room, events):
        """Everything that was written over night is there, in order."""
        self.step("adam reads what came over night")
        for event_id in events:
            event = reader.wait_event(room, event_id, 30)
            say(f"   {event['sender']}: {event['content']['body']}")
        took = time.monotonic() - self.woken
        known = [event["event_id"] for event in reader.timeline[room] if event["event_id"] in events]
        if known != events:
            raise Failure(f"not in the order in which they were written: {known} instead of {events}")
        say(f"   all {len(events)} of them, in order, {took:.1f} s after the homeserver was switched on")

    @staticmethod
    def check(away):
        answers = away.answers_to_deliveries(HOME)
        if set(answers) != {"200"}:
            raise Failure(f"the homeserver of {AWAY} met trouble: {answers}")
        say(f"\n{AWAY} delivered {len(answers)} times to {HOME} and heard 200 each time: it never knew.")


def check_gauges(world):
    """Nothing may go on when nobody does anything."""
    wanted = {"inbound_requests_open", "outbound_requests_open", "inbound_handshakes_open",
              "server_handshakes_open", "resolve_open", "dns_queries_open", "waiting_requests",
              "held_requests_open", "key_fetches_open"}
    for domain in world.domains:
        wait_until(f"the door of {domain.server_name} to be at rest", lambda: not [
            name for name, gauge in domain.door.status()["gauges"].items() if name in wanted and gauge["used"]])


def run(world, story):
    say(f"Two domains on this machine, each behind its own doorstep. Homeservers: {world.kind}.")
    began = time.monotonic()
    world.start()
    for domain, homeserver, how in world.describe():
        say(f"   {domain.server_name:20} door {domain.public}, {homeserver}; {how}")
    say(f"   started in {time.monotonic() - began:.1f} s; logs are in {os.path.relpath(world.directory, ROOT)}/")
    story(world).tell()
    check_gauges(world)


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo", add_help=False)
    parser.add_argument("--synapse", action="store_true")
    parser.add_argument("--sleep", action="store_true")
    parser.add_argument("--network", default="127.24")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    world, status = None, 1
    try:
        if args.synapse and args.sleep:
            raise Failure("--sleep is told with stand-ins; scripts/test sleep does it with Synapse")
        world = Synapses(args.network) if args.synapse else StandIns(args.network, args.sleep)
        run(world, SleepStory if args.sleep else Story)
        status = 0
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # nobody reads any more
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    except (Failure, WorldError, OSError, AssertionError) as error:
        say(f"\ndemo: {error}")
    finally:
        problems = world.stop() if world else []
        for problem in problems:
            say(f"demo: {problem}")
    if status == 0 and not problems:
        say("\nEverything travelled through the doors. Both are closed again.")
    return status or (1 if problems else 0)


if __name__ == "__main__":
    sys.exit(main())
