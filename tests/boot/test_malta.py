"""A router with 64 MB of RAM and a little-endian MIPS processor, from power-on to power-off.

Most tests share one router, in the order of this file.
"""

import contextlib
import json
import ssl
import threading
import time

import pytest

from router import HANGS, MIB, OURS, PDUS, Traffic, accepted, answer_all, head
from support.http1 import Cut
from support.raw import Peer
from support.world import SECRET

VERSION = "/_matrix/federation/v1/version"
CEILING, IDLE = 12 * MIB, 2 * MIB
HANDSHAKES, REQUESTS, KEPT = 20, 200, 40
CONNECTIONS = 64  # of memory_class 64
UPLOAD, UPLOADS, PIECE = 64 * 1024 * 1024, 6, 65536
LARGE = 900000


@pytest.fixture(scope="module")
def router(world):
    patient = world.sections(idle_timeout="10m", write_timeout="10m", body_timeout="10m")
    made = world.router("malta-le", sections=patient).start()
    yield made
    made.pull_plug()


@pytest.fixture
def asleep(world, router):
    world.sleep()
    router.wait_state("asleep")
    yield router
    world.wake()
    router.wait_state("awake")


def megabytes(memory):
    return f"{memory['total'] / MIB:.1f} MB ({memory['private'] / MIB:.1f} private)"


# ---- what it is there for ----

def test_small_machine(router):
    """All the RAM that there is, and the class that doorstep chose by itself."""
    assert int(router.shell("cat /proc/meminfo").split()[1]) < 64 * MIB
    assert router.shell("uname -m") == "mips\n"
    assert router.status()["gauges"]["inbound_connections_open"]["limit"] == CONNECTIONS
    assert router.shell(f"grep ^Uid /proc/{router.pid()}/status").split()[1] == "100"


def test_idle_memory(router, figures):
    memory = router.memory()
    assert memory["private"] < IDLE, memory
    figures.note("RSS idle", megabytes(memory))


def test_hosts_the_domain(router, world):
    """Discovery as another server does it, TLS 1.3, the homeserver behind."""
    peer = router.peer(port=443)
    assert peer.sock.version() == "TLSv1.3"
    answer = peer.ask(head("GET", "/.well-known/matrix/server"))
    assert json.loads(answer.body) == {"m.server": f"matrix.{OURS}:8448"}
    answer = peer.ask(head("GET", "/.well-known/matrix/client"))
    assert json.loads(answer.body)["m.homeserver"] == {"base_url": f"https://matrix.{OURS}"}
    accepted(router.ask(head("GET", VERSION), name=f"matrix.{OURS}"))
    assert world.home.requests[-1].target == VERSION.encode()


def test_stays_closed(router, world):
    assert router.ask(head("GET", "/_synapse/admin/v1/users")).status == 404
    assert router.ask(head("GET", VERSION).replace(OURS.encode(), b"other.test")).status == 421
    assert router.ask(b"GET /\x01 HTTP/1.1\r\nHost: example.org\r\n\r\n").status == 400
    assert not world.home.requests


def test_live_delivery(router, world, origins):
    for origin in origins:
        target, body = origin.next_target(), origin.body("live")
        accepted(router.ask(origin.request(target, body)))
        assert (world.home.requests[-1].target, world.home.requests[-1].body) == (target.encode(), body)
    assert router.counted("queue_accepted") == 0


def test_outbound(router, origins):
    """Both ways to find a server: the port in its name, and SRV."""
    for origin in (origins[0], origins[-1]):
        with Peer((router.address, 8009)) as peer:
            answer = peer.ask(
                f"GET matrix-federation://{origin.name}/_matrix/key/v2/server HTTP/1.1\r\nConnection: close\r\n"
                f"Proxy-Authorization: Bearer {SECRET}\r\nHost: {origin.name}\r\n\r\n".encode())
        assert json.loads(answer.body)["server_name"] == origin.name
        assert origin.server.requests[-1].get("host") == origin.name.encode()


# ---- what it costs ----

class Meter:
    """What doorstep takes of the emulated processor. A busy machine makes the seconds more, not the instructions."""

    def __init__(self, router):
        self.router = router
        self.seconds, self.instructions = router.processor_time(), router.instructions()

    def each(self, count):
        instructions = self.router.instructions() - self.instructions
        seconds = self.router.processor_time() - self.seconds
        assert seconds > 0 and instructions > 0
        return f"{seconds / count:.4f} s and {instructions / count / 1e6:.2f} M instructions"


def test_processor_time(router, figures, egon):
    meter = Meter(router)
    for _ in range(HANDSHAKES):
        router.peer().close()
    figures.note("CPU per handshake", meter.each(HANDSHAKES))
    assert router.counted("inbound_handshakes_resumed") == 0
    peer = router.peer()
    accepted(peer.ask(egon.get(VERSION)))
    requests = [egon.get(egon.next_event()) for _ in range(REQUESTS)]
    meter = Meter(router)
    for request in requests:
        accepted(peer.ask(request))
    figures.note("per request", meter.each(REQUESTS))


def test_processor_time_of_what_is_kept(asleep, world, figures, egon):
    peer = asleep.peer()
    accepted(peer.ask(egon.request(egon.next_target(), egon.body("fetches the key"))))
    sent = [egon.next_target() for _ in range(KEPT)]
    meter = Meter(asleep)
    for target in sent:
        accepted(peer.ask(egon.request(target, egon.body("kept"))))
    figures.note("per kept delivery", meter.each(KEPT))
    world.wake()
    asleep.wait("them to arrive", lambda: world.taken()[1:] == sent)


# ---- changed while it runs ----

def test_reload_takes_a_new_certificate(router, world):
    """Open connections go on; new ones see it."""
    old = router.peer()
    accepted(old.ask(head("GET", VERSION)))
    before = old.sock.getpeercert()["serialNumber"]
    certificate = world.authority.issue(OURS, f"matrix.{OURS}")
    for path, name in ((certificate.chain, "own.pem"), (certificate.key, "own.key")):
        with open(path, encoding="ascii") as text:
            router.write(name, text.read())
    router.reload()
    assert router.peer().sock.getpeercert()["serialNumber"] != before
    accepted(old.ask(head("GET", VERSION)))


def test_reload_with_a_mistake_changes_nothing(router):
    good = router.shell("cat /etc/doorstep/doorstep.conf")
    router.write("doorstep.conf", good.replace("option port '8448'", "option port '84480'"))
    router.reload(refused=True)
    accepted(router.ask(head("GET", VERSION)))
    assert "doorstep.conf:" in router.log()
    router.write("doorstep.conf", good)
    router.reload()
    accepted(router.ask(head("GET", VERSION)))


# ---- ceilings ----

class Upload:
    """A large body of a client, as fast as the router takes it."""

    def __init__(self, peer, number):
        self.peer, self.sent = peer, 0
        peer.send(head("PUT", f"/_matrix/client/v3/rooms/x/send/y/{number}", f"Content-Length: {UPLOAD}"))
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while self.sent < UPLOAD and self.peer.send_gently(b"x" * PIECE):
            self.sent += PIECE


def is_alive(peer):
    """False once the router has closed it."""
    peer.sock.settimeout(0)
    try:
        return peer.sock.recv(1) != b""
    except ssl.SSLWantReadError:
        peer.sock.settimeout(HANGS)
        return True
    except OSError:
        return False


def busy(router, egon):
    """As many connections as may be with a request under way on each."""
    peers = []

    def are_there():
        peers[:] = [peer for peer in peers if is_alive(peer)]
        while len(peers) < CONNECTIONS:
            peers.append(router.peer())
            peers[-1].send(egon.get(egon.next_event()))
        return router.status()["gauges"]["inbound_requests_open"]["used"] == CONNECTIONS

    router.wait("a request on every connection", are_there)
    return peers


def slow(world, go):
    """A homeserver that answers when it is told to."""
    def script(exchange):
        go.wait(HANGS)
        answer_all(exchange)

    world.home.script, world.home.cuts_allowed = script, True


@pytest.fixture
def go():
    event = threading.Event()
    yield event
    event.set()


def test_memory_under_load(router, world, egon, figures, go):
    """A request under way on every connection; then large bodies nobody takes."""
    router.watch_memory()
    slow(world, go)
    peers = busy(router, egon)
    go.set()
    for peer in peers:
        accepted(peer.response())
    go.clear()
    before = len(world.home.requests)
    uploads = [Upload(peer, number) for number, peer in enumerate(peers[:UPLOADS])]
    router.wait("all heads to arrive", lambda: len(world.home.requests) >= before + UPLOADS)
    router.wait("all to be stuck", lambda: are_stuck(uploads))
    highest = router.highest_memory()
    for upload in uploads:
        with contextlib.suppress(OSError):
            upload.peer.shut()
    for upload in uploads:
        upload.thread.join(HANGS)
    go.set()
    router.settle()
    assert highest["private"] < CEILING
    figures.note("RSS loaded", megabytes(highest))


def are_stuck(uploads):
    before = [upload.sent for upload in uploads]
    time.sleep(2)
    assert max(before) < UPLOAD, "somebody takes them"
    return sum(before) > 0 and before == [upload.sent for upload in uploads]


def test_large_bodies_are_kept(asleep, world, origins):
    """More of them at once than there is room for in memory: some are told to come again, and all are kept."""
    asleep.watch_memory()
    sent = {origin.next_target(): origin for origin in origins for _ in range(2)}
    threads = [threading.Thread(target=deliver, args=(asleep, origin.request(target, origin.body("large", LARGE))))
               for target, origin in sent.items()]
    for thread in threads:
        thread.start()
    asleep.wait("all to be kept", lambda: not any(thread.is_alive() for thread in threads))
    assert asleep.counted("queue_accepted") >= len(sent)
    assert asleep.highest_memory()["private"] < CEILING
    world.wake()
    asleep.wait("all to arrive", lambda: sorted(world.taken()) == sorted(sent))


def deliver(router, request):
    """Until it is acknowledged."""
    while True:
        with contextlib.suppress(OSError, Cut), router.peer() as peer:
            peer.send_gently(request)
            if peer.response("PUT").status == 200:
                return
        time.sleep(0.5)


# ---- the plug ----

def test_power_cut(router, world, origins):
    """In the middle of deliveries, and again in the middle of handing them over: nothing is lost."""
    world.sleep()
    router.wait_state("asleep")
    traffic = [Traffic(origin, router) for origin in origins]
    router.wait("deliveries", lambda: all(len(one.acknowledged) >= 12 for one in traffic))
    router.pull_plug()
    for one in traffic:
        one.end()
    acknowledged = [target for one in traffic for target in one.acknowledged]
    router.start()
    world.home.cuts_allowed = True
    world.home.script = unhurried
    world.wake()
    router.wait("a third of them to arrive", lambda: len(world.taken()) >= len(acknowledged) // 3)
    router.pull_plug()
    assert not set(acknowledged) <= set(world.taken()), "the plug was pulled too late"
    router.start()
    router.wait("all that was acknowledged", lambda: set(acknowledged) <= set(world.taken()))
    for one in traffic:
        assert one.in_order(world.taken()) == one.acknowledged
    router.wait_state("awake")
    accepted(router.ask(origins[0].request(origins[0].next_target(), origins[0].body("live again"))))


def unhurried(exchange):
    exchange.read_body()
    time.sleep(0.1)
    exchange.respond(body=PDUS)


# ---- a clock that nobody has set ----

def test_nothing_is_acknowledged_in_1970(world, egon):
    """Until the clock is set; and it says why."""
    world.sleep()
    router = world.router("malta-le", more=("--clock", "1970-01-01")).start()
    assert router.shell("date +%Y") == "1970\n"
    router.wait_state("asleep")
    target, body = egon.next_target(), egon.body("too early")
    assert router.ask(egon.request(target, body)).status == 503
    assert router.counted("queue_accepted") == 0
    assert "clock" in router.log()
    router.shell(f"date -s @{int(time.time())}")
    router.wait("it to be acknowledged", lambda: router.ask(egon.request(target, body)).status == 200)
    world.wake()
    router.wait("it to arrive", lambda: world.taken() == [target])
    router.pull_plug()


# ---- flash ----

def test_flash(world, origins, figures):
    """The queue on JFFS2 on a flash chip, as on routers with NOR flash: LMDB cannot write there."""
    flash = world.path("flash.img")
    router = world.router("malta-le", more=("--flash", flash)).start()
    assert " /srv jffs2 " in router.shell("cat /proc/mounts")
    world.sleep()
    router.wait_state("asleep")
    traffic = [Traffic(origin, router) for origin in origins]
    router.wait("deliveries", lambda: all(len(one.acknowledged) >= 5 for one in traffic))
    assert router.memory()["private"] < CEILING
    router.pull_plug()
    for one in traffic:
        one.end()
    router.start()
    world.wake()
    acknowledged = {target for one in traffic for target in one.acknowledged}
    router.wait("all that was acknowledged", lambda: acknowledged <= set(world.taken()))
    for one in traffic:
        assert one.in_order(world.taken()) == one.acknowledged
    figures.note("JFFS2: kept over a power cut", len(acknowledged))
    router.pull_plug()
