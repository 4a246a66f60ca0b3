"""Networks of our own: namespaces, cables between them, and what goes over a cable.

Everything made here is gone with the Network object. Needs root; `Network()` raises NoNamespaces where
the system does not let us.
"""

import contextlib
import ctypes
import itertools
import os
import queue
import subprocess
import sys
import threading

from .process import Failure, clean_env

NUMBERS = itertools.count()
CLONE_NEWNET = 0x40000000

# each line: when the system got the frame (SO_TIMESTAMPNS), and the frame
LISTEN = """
import socket, struct, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.setsockopt(socket.SOL_SOCKET, 35, 1)
s.bind((sys.argv[1], 0))
print("listening", flush=True)
while True:
    frame, more, _, where = s.recvmsg(65535, 256)
    seconds, nanoseconds = struct.unpack("ll", more[0][2][:16])
    if where[2] != socket.PACKET_OUTGOING:
        print(seconds + nanoseconds / 1e9, frame.hex(), flush=True)
"""


class NoNamespaces(Exception):
    pass


def ip(*words):
    run = subprocess.run(["ip", *words], env=clean_env(), capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise Failure(f"ip {' '.join(words)}: {run.stderr.strip()}")


class Capture:
    """The frames that arrive at an interface, from now on."""

    def __init__(self, namespace, interface):
        self.frames = queue.Queue()
        self.child = namespace.start([sys.executable, "-c", LISTEN, interface])
        if self.child.stdout.readline() != "listening\n":
            raise Failure(f"cannot listen on {interface}")
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.child.stdout:
            at, frame = line.split()
            self.frames.put((float(at), bytes.fromhex(frame)))

    def take(self):
        """What came since the last call, as (time.time() of its arrival, frame)."""
        got = []
        while not self.frames.empty():
            got.append(self.frames.get())
        return got


class Namespace:
    def __init__(self, name):
        self.name = name
        self.children = []

    def ip(self, *words):
        ip("-n", self.name, *words)

    def start(self, argv, **more):
        child = subprocess.Popen(
            ["ip", "netns", "exec", self.name, "setpriv", "--pdeathsig", "KILL", "--", *argv],
            env=clean_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **more)
        self.children.append(child)
        return child

    def capture(self, interface):
        return Capture(self, interface)

    @contextlib.contextmanager
    def entered(self):
        """
        This thread, and the threads and processes that it starts, are inside meanwhile; the sockets they make
        stay there.
        """
        libc = ctypes.CDLL(None, use_errno=True)

        def enter(descriptor):
            if libc.setns(descriptor, CLONE_NEWNET) != 0:
                raise NoNamespaces(f"setns: {os.strerror(ctypes.get_errno())}")

        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        inside = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter(inside)
            yield self
        finally:
            enter(outside)
            os.close(inside)
            os.close(outside)

    def close(self):
        for child in self.children:
            child.kill()
            child.wait()
        ip("netns", "delete", self.name)


class Network:
    def __init__(self):
        self.namespaces = []
        self.prefix = f"doorstep-{os.getpid()}-{next(NUMBERS)}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for namespace in self.namespaces:
            namespace.close()

    def namespace(self, name):
        full = f"{self.prefix}-{name}"
        try:
            ip("netns", "add", full)
        except (Failure, FileNotFoundError) as error:
            raise NoNamespaces(f"no network namespaces here: {error}") from error
        made = Namespace(full)
        self.namespaces.append(made)
        made.ip("link", "set", "lo", "up")
        return made

    def cable(self, one, other):
        """((namespace, interface, address with prefix or None, MAC or None), the same)"""
        (a, a_name, *_), (b, b_name, *_) = one, other
        ip("link", "add", a_name, "netns", a.name, "type", "veth",
           "peer", "name", b_name, "netns", b.name)
        for namespace, name, address, mac in (one, other):
            if mac:
                namespace.ip("link", "set", name, "address", mac)
            if address:
                namespace.ip("address", "add", address, "dev", name)
            namespace.ip("link", "set", name, "up")
