"""Emulated routers with doorstep in them, and the world around: everything is reached over loopback.

    world = Outside()                        # names, certificates, a homeserver, other servers
    router = world.router("malta-le")        # firmware/qemu/run, not yet started
    router.start()
    peer = router.peer()                     # TLS to its port 8448
    router.shell("uptime")                   # a root shell inside
    router.pull_plug()                       # the emulator is killed

In the router 10.0.2.2 is this machine's 127.0.0.1. Nothing here is measured in wall-clock time, for
emulation is slow and the machine may be busy: waits end with what they wait for, and have ceilings
only so that something that hangs ends some time.
"""

import base64
import contextlib
import json
import os
import random
import shutil
import socket
import struct
import tempfile
import threading
import time

from support import raw
from support.dns_server import DnsServer
from support.door import ROOT, uci
from support.http1 import Cut
from support.matrix import Signer, now_ms
from support.pki import Authority
from support.process import Child, Failure, wait_until
from support.raw import Peer, Server, client_context, server_context
from support.world import SECRET, claim_network

HANGS = 300  # seconds after which something does hang
OURS = "example.org"
HERE = "10.0.2.2"
PDUS = b'{"pdus":{}}'
CONTROL = "/tmp/run/control.sock"
PORTS = {443: 443, 8448: 8448, 8009: 8009, 7000: 7000}
MIB = 1024  # in KiB

raw.TIMEOUT = HANGS


def free_port():
    """A port of 127.0.0.1 for TCP and UDP that nobody has now."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                udp.bind(tcp.getsockname())
                return tcp.getsockname()[1]


def head(method, target, *fields):
    return "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {OURS}", *fields, "", ""]).encode()


def answer_all(exchange):
    exchange.read_body()
    exchange.respond(body=PDUS)


def accepted(response):
    assert (response.status, response.body) == (200, PDUS), (response.status, response.body)
    assert response.get("content-type") == b"application/json"


class Origin:
    """Another server: its key, and where that is served. By SRV if it has no port in its name."""

    def __init__(self, world, host, by_srv=False):
        port = free_port()
        self.world, self.count = world, 0
        self.name = host if by_srv else f"{host}:{port}"
        self.signer = Signer(self.name, "ed25519:k1")
        world.dns.add(host, "A", HERE)
        if by_srv:
            world.dns.add(f"_matrix-fed._tcp.{host}", "SRV", (0, 0, port, host))
        self.server = world.server(port, self.answer, world.authority.issue(host))

    def answer(self, exchange):
        exchange.read_body()
        exchange.respond(body=json.dumps(self.signer.key_document()).encode())

    def next_target(self):
        self.count += 1
        return f"/_matrix/federation/v1/send/{self.name.replace(':', '-')}-{self.count}"

    def next_event(self):
        """Something to ask for that nobody asked for before."""
        self.count += 1
        return f"/_matrix/federation/v1/event/%24event-{self.count}"

    def body(self, text, size=0):
        """Not canonical: nobody writes it anew unnoticed."""
        event = {"type": "m.room.message", "sender": f"@egon:{self.name}", "room_id": "!r:example.org",
                 "origin_server_ts": now_ms(), "depth": 7, "prev_events": [], "auth_events": [],
                 "content": {"body": text, "msgtype": "m.text"}, "hashes": {"sha256": "aGFzaA"}}
        edus = [{"edu_type": "m.direct_to_device", "content": {"x": "y" * 50000}} for _ in range(size // 50000)]
        return json.dumps({"pdus": [event], "edus": edus, "origin": self.name}, indent=1).encode()

    def request(self, target, body):
        line = self.signer.authorization("PUT", target, OURS, json.loads(body))
        return head("PUT", target, f"Authorization: {line}", "Content-Type: application/json",
                    f"Content-Length: {len(body)}") + body

    def get(self, target):
        return head("GET", target, f"Authorization: {self.signer.authorization('GET', target, OURS)}")


class Outside:
    """What is around the router."""

    def __init__(self):
        self.network, self.lock = claim_network("127.41")
        self.directory = tempfile.mkdtemp(prefix="doorstep-boot-")
        self.authority = Authority(self.path("pki"))
        self.context = client_context(self.authority.file)
        self.servers, self.routers, self.peers, self.alone = [], [], [], []
        self.dns = DnsServer("127.0.0.1", free_port())
        self.home, self.is_on = self.server(free_port(), answer_all), True
        self.certificate = self.authority.issue(OURS, f"matrix.{OURS}")

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def server(self, port, script, certificate=None):
        server = Server(("127.0.0.1", port), server_context(certificate) if certificate else None, script)
        self.servers.append(server)
        return server

    def sections(self, **limits):
        return [
            ("doorstep", "main", {"enabled": "1", "state_dir": "/srv/doorstep", "control": CONTROL,
                                  "dns": f"{HERE}:{self.dns.port}", "ca_file": "/etc/doorstep/ca.pem",
                                  "allow_range": ["10.0.2.0/24"]}),
            ("domain", "example", {"server_name": OURS, "homeserver": "nas", "delegate": f"matrix.{OURS}:8448",
                                   "client_url": f"https://matrix.{OURS}", "expose": ["federation", "client"],
                                   "certificate": ["/etc/doorstep/own.pem"], "key": ["/etc/doorstep/own.key"]}),
            ("homeserver", "nas", {"url": f"http://{HERE}:{self.home.where[1]}", "sleeps": "1",
                                   "probe_interval": "1s"}),
            ("listen", "federation", {"port": "8448"}), ("listen", "web", {"port": "443"}),
            ("outbound", "lan", {"listen": "10.0.2.15:8009", "homeserver": "nas",
                                 "secret_file": "/etc/doorstep/secret"}),
            ("limits", "limits", limits)]

    def router(self, board, **options):
        router = Router(self, board, len(self.routers) + 1, **options)
        self.routers.append(router)
        return router

    # ---- the homeserver ----

    def sleep(self):
        self.is_on = False
        self.home.stop_listening()
        self.home.drop_connections()
        wait_until("the homeserver to be gone", lambda: self.home.open == 0, HANGS)

    def wake(self):
        if not self.is_on:
            self.home.listen()
        self.is_on = True

    def taken(self):
        """Targets of the transactions that the homeserver answered, in order."""
        return [request.target.decode() for request in list(self.home.requests)
                if request.method == b"PUT" and request.body]

    def close_peers(self):
        while self.peers:
            with contextlib.suppress(OSError):
                self.peers.pop().close()

    def close(self):
        self.close_peers()
        for router in self.routers:
            router.pull_plug()
        for server in self.servers:
            server.close()
        self.dns.close()
        self.lock.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class Router:
    def __init__(self, world, board, number, sections=None, more=(), disk=None):
        """disk: that of another one; more: arguments for firmware/qemu/run"""
        self.world, self.board, self.number = world, board, number
        self.address = f"{world.network}.{number}"
        self.files, self.count = world.path(f"files{number}"), world.path(f"count{number}")
        self.disk = disk or world.path(f"state{number}.img")
        os.makedirs(self.files)
        self.sections = sections or world.sections()
        self.write_files()
        self.child = None
        self.more, self.boots, self.watches = more, 0, 0

    def write_files(self):
        certificate, authority = self.world.certificate, self.world.authority
        for source, name in ((certificate.chain, "own.pem"), (certificate.key, "own.key"), (authority.file, "ca.pem")):
            shutil.copy(source, os.path.join(self.files, name))
        for name, text in (("secret", SECRET + "\n"), ("doorstep.conf", uci(self.sections))):
            with open(os.path.join(self.files, name), "w", encoding="utf-8") as out:
                out.write(text)

    def console(self):
        return self.world.path(f"console{self.number}-{self.boots}")

    def start(self):
        """Until doorstep answers in it."""
        self.boots += 1
        forwards = [word for here, there in PORTS.items() if here != 7000
                    for word in ("--forward", f"{self.address}:{here}-{there}")]
        self.child = Child(f"the router {self.board}", [
            os.path.join(ROOT, "firmware/qemu/run"), "--board", self.board, "--state", self.disk,
            "--files", self.files, *forwards, "--shell", f"{self.address}:7000", "--console", self.console(),
            "--count", self.count, *self.more], self.world.path(f"emulator{self.number}-{self.boots}"))
        self.child.start()
        self.wait("its shell", lambda: self.try_shell("echo here") == "here\n")
        self.wait("doorstep in it", lambda: "uptime" in self.try_shell(
            f"doorstep status --json --socket {CONTROL} 2>&1"))
        return self

    def wait(self, what, probe):
        def alive():
            if self.child.ended() is not None:
                raise Failure(f"the router ended with {self.child.ended()}; {self.last_words()}")
            return probe()

        try:
            return wait_until(what, alive, HANGS, every=0.2)
        except Failure as error:
            raise Failure(f"{error}; {self.last_words()}") from error

    def pull_plug(self):
        if self.child and self.child.ended() is None:
            self.child.child.kill()
            self.child.wait(HANGS)

    def last_words(self):
        words = self.child.last_words()
        with contextlib.suppress(OSError), open(self.console(), encoding="utf-8", errors="replace") as text:
            words += "\nthe console ends with:\n" + "".join(text.readlines()[-25:])
        if self.child.ended() is None:
            words += "\ndoorstep's log ends with:\n" + self.try_shell("tail -n 25 /tmp/log/doorstep")
        return words

    # ---- inside ----

    def converse(self, script):
        """(what the script says, its status); None if there is no answer."""
        with contextlib.suppress(OSError), socket.create_connection((self.address, 7000), HANGS) as sock:
            sock.sendall(f"{script}\necho done $?\nexit\n".encode())
            said = b"".join(iter(lambda: sock.recv(65536), b"")).decode(errors="replace")
            text, mark, status = said.rpartition("done ")
            if mark and status.strip().isdigit():
                return text, int(status)
        return None

    def try_shell(self, script):
        """What the script says, "" if nobody answers."""
        return (self.converse(script) or ("", 0))[0]

    def shell(self, script):
        """Asks again when there is no answer: a router without memory for a connection may have some later."""
        said, status = self.wait("an answer of its shell", lambda: self.converse(script))
        if status:
            raise Failure(f"in the router: {script} ends with {status}: {said}; {self.last_words()}")
        return said

    def write(self, name, text):
        """A file of /etc/doorstep, changed whole."""
        data = base64.encodebytes(text.encode()).decode()
        path = f"/tmp/etc/{name}"
        self.shell(f"base64 -d >{path}.new <<END\n{data}END\nmv {path}.new {path}")

    def pid(self):
        return int(self.shell("pidof doorstep"))

    def status(self):
        return json.loads(self.shell(f"doorstep status --json --socket {CONTROL}"))

    def counted(self, name):
        return self.status()["counters"][name]

    def wait_counter(self, name, least):
        self.wait(f"counter {name} to reach {least}", lambda: self.counted(name) >= least)

    def wait_gauge(self, name, value):
        self.wait(f"gauge {name} to be {value}", lambda: self.status()["gauges"][name]["used"] == value)

    def settle(self):
        self.world.close_peers()
        self.wait("every gauge to be zero, but for answers that are kept", lambda: not any(
            gauge["used"] for name, gauge in self.status()["gauges"].items() if not name.startswith("answers_")))

    def log(self):
        return self.shell("cat /tmp/log/doorstep")

    def state(self):
        """Of the homeserver, as the log has it."""
        lines = [line for line in self.log().splitlines() if "sleep.state" in line]
        return lines[-1].split(" to=")[1].split()[0] if lines else None

    def wait_state(self, state):
        self.wait(f"the homeserver to be {state}", lambda: self.state() == state)

    def reload(self, refused=False):
        counter = "reloads_refused" if refused else "reloads"
        before = self.counted(counter)
        self.shell(f"kill -HUP {self.pid()}")
        self.wait_counter(counter, before + 1)

    # ---- figures ----

    def memory(self):
        """KiB: private is anonymous memory and what lies in memory file systems; total has mapped files too."""
        number = {}
        for line in self.shell(f"cat /proc/{self.pid()}/smaps_rollup").splitlines()[1:]:
            name, value = line.split(":")
            number[name] = int(value.split()[0])
        return {"private": number["Anonymous"] + number["Pss_Shmem"], "total": number["Rss"]}

    def watch_memory(self):
        """From now on the router itself looks twice a second; ends with highest_memory()."""
        self.watches += 1
        self.shell(f"""cat >/tmp/watch <<'END'
while [ ! -e /tmp/seen{self.watches} ]; do
	awk '/^(Anonymous|Pss_Shmem):/ {{ p += $2 }} /^Rss:/ {{ t = $2 }} END {{ print p, t }}' \\
		/proc/{self.pid()}/smaps_rollup
	sleep 0.5
done >/tmp/watch{self.watches}
END
sh /tmp/watch </dev/null >/dev/null 2>&1 &""")

    def highest_memory(self):
        """The highest values of both, not of one moment."""
        lines = self.shell(f"touch /tmp/seen{self.watches}; cat /tmp/watch{self.watches}").splitlines()
        seen = [[int(number) for number in line.split()] for line in lines]
        return {"private": max(private for private, _ in seen), "total": max(total for _, total in seen)}

    def processor_time(self):
        """Seconds of the router's processor that doorstep has used, in user space and in the kernel for it."""
        fields = self.shell(f"cat /proc/{self.pid()}/stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def instructions(self):
        """In user space so far; meaningful as a difference while nothing but doorstep has work."""
        with open(self.count, "rb") as numbers:
            return struct.unpack("=QQ", numbers.read(16))[0]

    # ---- connections ----

    def peer(self, name=OURS, port=8448):
        """TLS, with patience: an emulated processor on a busy machine may miss a deadline of its own."""
        deadline = time.monotonic() + HANGS
        while True:
            try:
                peer = Peer((self.address, port), self.world.context, name)
                self.world.peers.append(peer)
                return peer
            except OSError as error:
                if time.monotonic() > deadline or self.child.ended() is not None:
                    raise Failure(f"no connection: {error}; {self.last_words()}") from error
                time.sleep(0.2)

    def ask(self, request, **options):
        with self.peer(**options) as peer:
            return peer.ask(request)


class Traffic:
    """An origin that sends one transaction after the other, the same again until it is acknowledged."""

    def __init__(self, origin, router):
        self.origin, self.router = origin, router
        self.acknowledged, self.ended = [], threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ended.is_set():
            target = self.origin.next_target()
            request = self.origin.request(target, self.origin.body(target, size=random.choice((0, 0, 100000))))
            while not self.ended.is_set():
                with contextlib.suppress(OSError, Cut):
                    with Peer((self.router.address, 8448), self.router.world.context, OURS) as peer:
                        if peer.ask(request).status == 200:
                            self.acknowledged.append(target)
                            break
                time.sleep(0.05)

    def end(self):
        self.ended.set()
        self.thread.join(HANGS)

    def in_order(self, taken):
        """What was acknowledged, in the order in which it first arrived."""
        first = list(dict.fromkeys(taken))
        return [target for target in first if target in set(self.acknowledged)]
