"""Hostile servers against a door of the smallest memory class, as users get it: what they can take, in figures.

Servers with valid keys that flood by bytes, by items and by number; key servers that accept and never answer; 10,000
names that nobody has keys for, from twenty addresses. The figures are left in
build/results/hostile.figures, and scripts/test prints them.
"""

import collections
import json
import os
import threading
import time

import pytest

from support.door import ROOT, release_executable
from support.http1 import Cut
from support.process import wait_until
from support.world import SECRET
from talk import head
from test_sleeping import OURS, Night, Origin, answer_all, assert_kept

FORGED = 10000
SOURCES = range(100, 120)       # host numbers the forgers come from
CLASS_KIB = 12 * 1024           # private and tmpfs memory of the smallest class
BURST, PACE = 60, 1             # fetches of keys that one address may cause: at once, and a second after that
SLOW = 8                        # names whose key servers say nothing
QUOTA, ORIGIN_QUOTA, RESERVE, ORIGIN_ITEMS = 8 << 20, 2 << 20, 2 << 20, 1024


class Watch:
    """The most private memory that a process had."""

    def __init__(self, door):
        self.door, self.peak, self.stop = door, 0, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stop.wait(0.005):
            self.peak = max(self.peak, self.door.memory("RssAnon") + self.door.memory("RssShmem"))

    def end(self):
        self.stop.set()
        self.thread.join()
        return self.peak


class Crowd:
    """Threads that do something until it is done, and what they were told."""

    def __init__(self):
        self.threads, self.statuses, self.problems = [], collections.defaultdict(collections.Counter), []

    def run(self, who, work):
        def body():
            try:
                work(self.statuses[who])
            except Exception as error:  # pylint: disable=broad-except
                self.problems.append(f"{who}: {error!r}")
        thread = threading.Thread(target=body)
        self.threads.append(thread)
        thread.start()

    def join(self):
        for thread in self.threads:
            thread.join()
        assert not self.problems, self.problems


def flood(origin, size, refusals):
    """Transactions of that size until so many were refused."""
    def work(statuses):
        while statuses[503] < refusals:
            body = origin.body("x" * min(size, 50000), edus=[
                {"edu_type": "m.direct_to_device", "content": {"x": "y" * 50000}}] * (size // 50000))
            with origin.peer() as peer:
                peer.send_gently(origin.request(origin.name_next(), body))
                statuses[peer.response("PUT").status] += 1
    return work


def forged(world, source, names):
    """Most as questions on a kept connection, one in ten as a transaction."""
    def text(name):
        return 'Authorization: X-Matrix origin="%s",destination="%s",key="ed25519:1",sig="%s"' % (name, OURS, "A" * 86)

    def work(statuses):
        peer = world.peer(source=source)
        for number, name in enumerate(names):
            try:
                if number % 10:
                    statuses[peer.ask(head("GET", "/_matrix/federation/v1/event/%24e", text(name))).status] += 1
                else:
                    request = head("PUT", f"/_matrix/federation/v1/send/{number}", text(name), "Content-Length: 2")
                    peer.send_gently(request + b"{}")
                    statuses[peer.response("PUT").status] += 1
            except (Cut, OSError):
                statuses["cut"] += 1
            if number % 10 == 0:  # a body that was not read ends the connection
                peer.close()
                peer = world.peer(source=source)
        peer.close()
    return work


def by_origin(night):
    done = night.door.run("queue", "list", "--json", "--socket", night.door.control)
    items = [item for line in done.stdout.splitlines() for item in json.loads(line)["items"]]
    got = collections.defaultdict(lambda: [0, 0])
    for item in items:
        got[item["origin"]][0] += 1
        got[item["origin"]][1] += item["bytes"]
    return got, items


def write_to(night, origin):
    """The homeserver writes to it: it is known from now on."""
    text = (f"PUT matrix-federation://{origin.name}/_matrix/federation/v1/send/1 HTTP/1.1\r\nHost: {origin.name}\r\n"
            f"Proxy-Authorization: Bearer {SECRET}\r\nContent-Length: 2\r\n\r\n{{}}")
    with night.world.plain_peer() as peer:
        assert peer.ask(text.encode(), "PUT").status == 200


@pytest.fixture
def night(world, home, own_door):
    home.script = answer_all
    state = world.path("state-hostile")
    os.makedirs(state, exist_ok=True)
    made = Night(world, home, own_door, state, program=release_executable())
    made.sections.append(world.outbound())
    made.start(asleep=False)
    yield made
    world.close_peers()
    if not made.is_on:
        made.wake()


def report(lines):
    path = os.path.join(ROOT, "build", "results", "hostile.figures")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")
    print("\n".join(lines))


def test_hostile_servers_take_what_is_theirs(night, world):
    friends = [Origin(world, f"friend{number}.test", 40 + number) for number in range(3)]
    by_bytes, by_items, *sybils = [Origin(world, f"mallory{number}.test", 50 + number) for number in range(6)]
    silence = threading.Event()
    slow = world.server((60, 8448), lambda exchange: silence.wait(120), world.certificate(
        *[f"slow{number}.test" for number in range(SLOW)]))
    slow.cuts_allowed = True
    for number in range(SLOW):
        world.dns.add(f"slow{number}.test", "A", world.address(60))
    for friend in friends:
        write_to(night, friend)
    night.sleep()
    night.wait_state("asleep")
    for mallory in (by_bytes, by_items, *sybils):  # their keys are good, and known from now on
        mallory.keep()
    kept = [(friend, friend.keep(f"before {number}")) for number in range(5) for friend in friends]

    crowd, watch, began = Crowd(), Watch(night.door), time.monotonic()
    share = FORGED // len(SOURCES)
    for number, source in enumerate(SOURCES):
        crowd.run("forged names", forged(world, world.address(source),
                                         [f"forged{number * share + i}.test" for i in range(share)]))
    for _ in range(4):
        crowd.run("by bytes", flood(by_bytes, 400000, 20))
    for _ in range(8):
        crowd.run("by items", flood(by_items, 10, 20))
    during = [(friend, friend.keep(f"during {number}")) for number in range(5) for friend in friends]
    crowd.join()
    for number in range(SLOW):
        crowd.run("slow key servers", forged(world, world.address(90 + number), [f"slow{number}.test"] * 3))
    for sybil in sybils:
        crowd.run("by number", flood(sybil, 100000, 20))
    during += [(friend, friend.keep(f"later {number}")) for number in range(5) for friend in friends]
    crowd.join()
    after = [(friend, friend.keep(f"after {number}")) for number in range(5) for friend in friends]
    elapsed, peak, figures = time.monotonic() - began, watch.end(), night.door.status()
    queued, items = by_origin(night)
    counters, causes = figures["counters"], figures["causes"]
    report([
        f"hostile: {sum(sum(counts.values()) for counts in crowd.statuses.values())} requests "
        f"in {elapsed:.0f} s, memory class {figures['memory_class']}",
        f"private and tmpfs memory, peak: {peak} KiB of {CLASS_KIB}",
        f"queue: {figures['queue']['bytes']} bytes of {figures['queue']['bytes_max']}, of these for known servers "
        f"only {RESERVE}; a server's own quota {ORIGIN_QUOTA} bytes, {ORIGIN_ITEMS} items",
        *[f"queue of {name}: {count} items, {size} bytes" for name, (count, size) in sorted(queued.items())],
        f"key fetches: {counters['key_fetches']} for {FORGED} forged names from {len(SOURCES)} addresses, "
        f"{figures['gauges']['key_fetches_open']['peak']} at once at most",
        *[f"keys not fetched, {name.removeprefix('key_refused_')}: {counters[name]}" for name in sorted(counters)
          if name.startswith("key_refused_")],
        *[f"signatures not confirmed, {cause}: {count}" for cause, count in sorted(causes["verify_failures"].items())],
        *[f"transactions not kept, {cause}: {count}" for cause, count in sorted(causes["queue_refused"].items())],
        *[f"not held, {cause}: {count}" for cause, count in sorted(causes["held_refused"].items())],
        f"slowed down: {counters['gate_slowed']}, "
        f"too long a line: {counters['gate_crowded']}",
        *[f"answers to {who}: " + ", ".join(f"{status}: {count}" for status, count in sorted(
            counts.items(), key=str)) for who, counts in sorted(crowd.statuses.items())],
    ])

    assert peak < CLASS_KIB
    assert figures["queue"]["bytes_max"] == QUOTA
    for mallory in (by_bytes, by_items, *sybils):
        assert queued[mallory.name][1] <= ORIGIN_QUOTA and queued[mallory.name][0] <= ORIGIN_ITEMS
    assert queued[by_bytes.name][1] > ORIGIN_QUOTA - 500000, "its flood reached the quota"
    assert queued[by_items.name][0] == ORIGIN_ITEMS
    assert figures["queue"]["bytes"] - sum(queued[friend.name][1] for friend in friends) <= QUOTA - RESERVE
    assert sum(crowd.statuses["forged names"].values()) == FORGED
    assert not {200, "cut"} & set(crowd.statuses["forged names"]), crowd.statuses["forged names"]
    addresses = len(SOURCES) + SLOW
    assert counters["key_fetches"] <= addresses * (BURST + PACE * elapsed) + len(friends) + 2 + len(sybils)
    assert figures["gauges"]["key_fetches_open"]["peak"] <= figures["gauges"]["key_fetches_open"]["limit"]
    assert counters["wake_packets"] == 0
    sent = kept + during + after
    for friend in friends:
        mine = [item for item in items if item["origin"] == friend.name]
        assert [item["sequence"] for item in mine] == sorted(item["sequence"] for item in mine)
        assert len(mine) == len([target for who, target in sent if who is friend]), "nobody's items went"
    silence.set()
    night.wake()
    wait_until("what friends sent", lambda: {target for _, target in sent} <= {
        request.target.decode() for request in night.puts()}, 60)
    got = [request.target.decode() for request in night.puts()]
    for friend in friends:
        assert [target for target in got if f"/{friend.name}-" in target] == [
            target for who, target in sent if who is friend]
