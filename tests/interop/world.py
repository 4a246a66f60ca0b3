"""Two Matrix domains on loopback, each a real Synapse behind its own doorstep.

    socialnetwork24.com   door 127.24.0.1, Synapse on TCP, found by an SRV record, exposes all
    tchncs.de             door 127.24.1.1, Synapse on unix sockets, found by .well-known, federation only

Neither Synapse can reach the other: names do not resolve where they run, and the second one runs
without any network. What passes between them passes through both doors.

    with World("build/interop/run") as world:
        adam = world.home.synapse.register("adam")

Another network, such as 127.25, makes another world beside it. The door of
socialnetwork24.com keeps what arrives while its homeserver is off, unless sleep says otherwise.
"""

import os
import shutil
import socket
import tempfile

from .client import Tcp, Tls, Unix
from .door import Door, executable
from .pki import Authority
from .process import WorldError, require_free
from .synapse import Synapse
from .zone import NameServer

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
VENV = os.path.join(ROOT, "build", "interop", "venv")


class Domain:
    """A server name with its door and its homeserver."""

    def __init__(self, world, synapse, address, ports, expose, delegate=None):
        self.world, self.synapse, self.server_name = world, synapse, synapse.server_name
        self.address, self.ports, self.expose, self.delegate = address, ports, expose, delegate
        self.directory = synapse.directory
        self.matrix_host = f"matrix.{self.server_name}"
        self.sleep = {}  # options of `config homeserver` about sleep
        self.door = None

    def make_door(self):
        certificates, keys = zip(*(self.world.authority.issue(name) for name in self.certificate_names()))
        run = os.path.join(self.world.run, self.server_name)
        self.door = Door(self.server_name, self.directory, run, [
            {"dns": "%s:%d" % self.world.dns, "ca_file": self.world.authority.certificate, "allow_range": ["127.0.0.0/8"]},
            ("domain", "home", {
                "server_name": self.server_name, "homeserver": "nas",
                **({"delegate": self.delegate} if self.delegate else {}),
                "client_url": f"https://{self.matrix_host}",
                "expose": self.expose,
                "certificate": list(certificates), "key": list(keys)}),
            ("homeserver", "nas", {"url": self.homeserver_url(), **self.sleep}),
            *(("listen", f"port{port}", {"address": self.address, "port": str(port)}) for port in self.ports),
            ("outbound", "lan", {
                "mode": "matrix-federation", "listen": self.outbound_address(), "homeserver": "nas",
                "secret_file": self.synapse.secret_file}),
            # Kept-alive connections to the other door go soon, so that idle gauges reach zero soon.
            ("limits", "limits", {"pool_timeout": "3s"}),
        ])

    def certificate_names(self):
        return [self.server_name, self.matrix_host]

    def homeserver_url(self):
        at = self.synapse.listen
        return "unix:" + at["path"] if "path" in at else "http://{address}:{port}".format(**at)

    def outbound_address(self):
        at = self.synapse.outbound
        return "unix:" + at["path"] if "path" in at else "{address}:{port}".format(**at)

    def through_door(self):
        """How a client on the internet reaches the homeserver."""
        return Tls(self.matrix_host, self.address, 443, self.world.authority.certificate)

    def user(self, name):
        return f"@{name}:{self.server_name}"


class World:
    """start() or fail with a WorldError that says why; stop() leaves the logs."""

    def __init__(self, directory=None, venv=VENV, log=lambda line: None, network="127.24", sleep=None):
        self.network, self.sleep = network, sleep or {}
        self.dns = (self.address("9.1"), 5353)
        self.directory = os.path.abspath(directory or os.path.join(ROOT, "build", "interop", "run"))
        self.venv, self.say = venv, log
        self.run = None
        self.authority = self.names = self.home = self.away = None
        self.statuses = {}

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def domains(self):
        return [domain for domain in (self.home, self.away) if domain]

    def start(self):
        try:
            self.prepare()
            self.say("starting the name server and both doors")
            self.names.start()
            for domain in self.domains:
                domain.door.start()
            self.say("starting both Synapses (some seconds, databases are made)")
            for domain in self.domains:
                domain.synapse.start()
            for domain in self.domains:
                domain.synapse.wait_ready()
        except BaseException:
            self.stop()
            raise

    def address(self, end):
        return f"{self.network}.{end}"

    def prepare(self):
        executable()
        self.require_addresses()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.run = tempfile.mkdtemp(prefix="doorstep-interop-")  # short: socket paths end at 107 bytes
        for name in ("pki", "socialnetwork24.com", "tchncs.de"):
            os.makedirs(os.path.join(self.directory, name))
            os.makedirs(os.path.join(self.run, name))
        self.authority = Authority(os.path.join(self.directory, "pki"))
        self.make_domains()
        self.make_names()
        for domain in self.domains:
            domain.synapse.prepare()
            domain.make_door()

    def require_addresses(self):
        for end, port in (("0.1", 443), ("0.1", 8449), ("0.1", 8009), ("0.2", 8008), ("1.1", 443), ("1.1", 8448)):
            require_free(self.address(end), port)
        require_free(*self.dns)
        require_free(*self.dns, socket.SOCK_DGRAM)

    def make_domains(self):
        plain = {"address": self.address("0.2"), "port": 8008}
        self.home = Domain(self, self.synapse("socialnetwork24.com", Tcp(**plain), plain,
                                              {"address": self.address("0.1"), "port": 8009}),
                           self.address("0.1"), (443, 8449), ["federation", "media", "client"])
        self.home.sleep = self.sleep
        listen, outbound = (os.path.join(self.run, "tchncs.de", name) for name in ("synapse.sock", "outbound.sock"))
        self.away = Domain(self, self.synapse("tchncs.de", Unix(listen), {"path": listen}, {"path": outbound}),
                           self.address("1.1"), (443, 8448), ["federation"], delegate="matrix.tchncs.de:8448")

    def synapse(self, server_name, *how):
        return Synapse(server_name, self.venv, os.path.join(self.directory, server_name), *how)

    def make_names(self):
        self.names = NameServer(*self.dns, self.directory)
        for domain in self.domains:
            self.names.domain(domain.server_name)
            for name in (domain.server_name, domain.matrix_host):
                self.names.host(name, domain.address)
        self.names.host("door.socialnetwork24.com", self.home.address)
        self.names.service("_matrix-fed._tcp.socialnetwork24.com", "door.socialnetwork24.com", 8449)

    def stop_homeservers(self):
        for domain in self.domains:
            domain.synapse.stop()

    def stop(self):
        """Ends everything; the exit status of each door is in statuses afterwards."""
        self.stop_homeservers()
        for domain in self.domains:
            if domain.door:
                self.statuses[domain.server_name] = domain.door.stop()
        if self.names:
            self.names.process.stop()
        if self.run:
            shutil.rmtree(self.run, ignore_errors=True)


__all__ = ["World", "WorldError", "Domain", "executable"]
