"""The name server of the test network: Debian's dnsmasq, with every query in its log."""

import os
import re
import socket
import struct

from .process import Process, clean_env


class NameServer:
    def __init__(self, address, port, directory):
        self.address, self.port = address, port
        self.log = os.path.join(directory, "dns.log")
        # As root to the end: a change of user would undo the promise to die with the starter.
        self.lines = ["no-resolv", "no-hosts", "log-queries", "log-facility=-", "bind-interfaces",
                      f"listen-address={address}", f"port={port}", "user=root", "group=root", "pid-file",
                      "local-ttl=300"]
        self.config = os.path.join(directory, "dns.conf")
        self.process = Process("dnsmasq", ["dnsmasq", "--keep-in-foreground", f"--conf-file={self.config}"],
                               self.log, clean_env())

    def domain(self, name):
        """Everything below the name is ours: what is not added does not exist."""
        self.lines.append(f"local=/{name}/")

    def host(self, name, address):
        self.lines.append(f"host-record={name},{address}")
        self.probe = name

    def service(self, name, target, port):
        self.lines.append(f"srv-host={name},{target},{port},10,5")

    def start(self):
        with open(self.config, "w", encoding="ascii") as out:
            out.write("\n".join(self.lines) + "\n")
        self.process.start()
        self.process.wait_ready(self.answers, 10)

    def answers(self):
        """One A query by hand, so that no resolver library is needed."""
        labels = b"".join(bytes([len(part)]) + part for part in self.probe.encode().split(b"."))
        query = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(1)
            sock.sendto(query, (self.address, self.port))
            return struct.unpack(">6H", sock.recv(512)[:12])[3] > 0

    def queries(self):
        """What was asked so far, as a set of (type, name)."""
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return set(re.findall(r"query\[([A-Z]+)\] (\S+) from", log.read()))
