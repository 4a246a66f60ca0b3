"""A test network on loopback: names, certificates, scripted servers, and doors between them.

    with World() as world:                       # 127.40.N.*, nobody else's
        home = world.server("homeserver", 8008)  # scripted, plain HTTP
        door = world.door(homeserver=home)       # serves example.org on .1, ports 443 and 8448
        peer = world.peer(door)                  # TLS, SNI example.org
"""

import contextlib
import os
import shutil
import socket
import tempfile

from .dns_server import DnsServer
from .door import Door
from .pki import Authority
from .process import Failure
from .raw import Peer, Server, client_context, server_context

NETWORKS = range(0, 250)
LOCK_PORT = 4  # the network is ours while we hold it on .254
SECRET = "correct-horse-battery-staple"


def claim_network(prefix):
    """A /24 of loopback addresses that no other run on this machine uses, and the socket that says so."""
    for number in NETWORKS:
        lock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            lock.bind((f"{prefix}.{number}.254", LOCK_PORT))
            return f"{prefix}.{number}", lock
        except OSError:
            lock.close()
    raise Failure(f"all networks below {prefix} are in use")


class World:
    def __init__(self, prefix="127.40"):
        self.network, self.lock = claim_network(prefix)
        self.directory = tempfile.mkdtemp(prefix="doorstep-")  # short: socket paths
        self.authority = Authority(self.path("pki"))
        self.stranger = None
        self.dns = DnsServer(self.address(3))
        self.doors, self.servers, self.peers = [], [], []
        self.certificates, self.contexts = {}, {}
        self.secret_file = self.write("secret", SECRET + "\n", 0o600)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def address(self, host):
        return f"{self.network}.{host}"

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def write(self, name, text, mode=0o644):
        path = self.path(name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def unknown_authority(self):
        if not self.stranger:
            self.stranger = Authority(self.path("stranger"), "an authority nobody knows")
        return self.stranger

    def certificate(self, *names):
        if names not in self.certificates:
            self.certificates[names] = self.authority.issue(*names)
        return self.certificates[names]

    def server(self, where, script=None, certificate=None, more=()):
        """where: (host number, port) or a path below our directory."""
        where = self.path(where) if isinstance(where, str) else (self.address(where[0]), where[1])
        server = Server(where, server_context(certificate, *more) if certificate else None)
        if script:
            server.script = script
        self.servers.append(server)
        return server

    # ---- doors ----

    @staticmethod
    def url_of(server):
        if isinstance(server.where, str):
            return "unix:" + server.where
        return f"{'https' if server.context else 'http'}://{server.where[0]}:{server.where[1]}"

    def domain(self, name="example.org", homeserver="nas", **options):
        certificate = options.pop("files", None) or self.certificate(name, f"matrix.{name}")
        return ("domain", name.replace(".", "_").replace("-", "_"), {
            "server_name": name, "homeserver": homeserver, "client_url": f"https://matrix.{name}",
            "expose": ["federation", "media", "client"],
            "certificate": [certificate.chain], "key": [certificate.key], **options})

    def main(self, **options):
        return ("doorstep", "main", {"dns": f"{self.dns.address}:{self.dns.port}", "memory_class": "64",
                                     "ca_file": self.authority.file, "allow_range": ["127.0.0.0/8"], **options})

    def listens(self, host=1, ports=(443, 8448)):
        return [("listen", f"port{port}", {"address": self.address(host), "port": str(port)}) for port in ports]

    def outbound(self, listen=None, **options):
        return ("outbound", "lan", {"mode": "matrix-federation", "homeserver": "nas",
                                    "listen": listen or f"{self.address(1)}:8009",
                                    "secret_file": self.secret_file, **options})

    def connect_listener(self, listen=None, user="user:password"):
        secret = self.write("connect-secret", user + "\n", 0o600)
        return ("outbound", "tunnel", {"mode": "connect", "listen": listen or f"{self.address(1)}:8010",
                                       "secret_file": secret})

    def sections(self, homeserver, *extra, limits=None, host=1, domain=None, main=None):
        """The usual configuration: example.org, one homeserver, both ports."""
        return [self.main(**(main or {})), domain or self.domain(),
                ("homeserver", "nas", {"url": homeserver if isinstance(homeserver, str) else self.url_of(homeserver),
                                       "repeat_answers": "0"}),  # so that what is asked reaches it
                *self.listens(host), *extra, ("limits", "limits", limits or {})]

    def door(self, sections, start=True, program=None, files_max=None):
        door = Door(self.path(f"door{len(self.doors)}"), sections, program, files_max)
        self.doors.append(door)
        return door.start() if start else door

    # ---- peers ----

    def peer(self, name="example.org", port=8448, host=1, **options):
        """A connection of another server, TLS made."""
        context = self.client_context(options.pop("tls12", False))
        return self.keep(Peer((self.address(host), port), context, name, **options))

    def client_context(self, tls12=False):
        """One for all peers, so that they can share sessions."""
        if tls12 not in self.contexts:
            self.contexts[tls12] = client_context(self.authority.file, tls12)
        return self.contexts[tls12]

    def plain_peer(self, port=8009, host=1, **options):
        """A connection without TLS: of the homeserver, or of somebody rude."""
        return self.keep(Peer((self.address(host), port), **options))

    def unix_peer(self, path):
        return self.keep(Peer(path))

    def keep(self, peer):
        self.peers.append(peer)
        return peer

    # ---- ends ----

    def close_peers(self):
        while self.peers:
            with contextlib.suppress(OSError):
                self.peers.pop().close()

    def settle(self):
        """After a test: nothing that it began goes on, nothing was written that is not HTTP."""
        self.close_peers()
        for door in self.doors:
            if door.child.child and door.child.ended() is None:
                door.settle()
        faults = [fault for server in self.servers for fault in server.take_faults()]
        if faults:
            raise Failure(f"scripted servers report: {faults}")

    def stop_doors(self):
        problems = [problem for door in self.doors if (problem := door.stop())]
        self.doors.clear()
        return problems

    def close(self):
        self.close_peers()
        problems = self.stop_doors()
        for server in self.servers:
            server.close()
        self.dns.close()
        self.lock.close()
        if problems:
            raise Failure("\n".join(problems))
        shutil.rmtree(self.directory, ignore_errors=True)
