"""A small authoritative DNS server whose answers a test writes down, on UDP and TCP.

    dns = DnsServer("127.40.0.3", 53)
    dns.add("example.org", "A", "127.40.0.4", ttl=300)
    dns.add("_matrix-fed._tcp.example.org", "SRV", (10, 5, 8448, "matrix.example.org"))
    dns.add("www.example.org", "CNAME", "example.org")
    dns.fail("broken.example", "servfail")       # or timeout, refused, truncate, garbage, nxdomain

A name with records of another type only answers NODATA, an unknown one NXDOMAIN, both with an SOA.
"""

import ipaddress
import socket
import struct
import threading

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "AAAA": 28, "SRV": 33}
TYPE_NAMES = {number: name for name, number in TYPES.items()}
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
CHAIN_MAX = 20


def pack_name(name):
    if name in ("", "."):
        return b"\0"
    return b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".")) + b"\0"


def read_name(packet, at):
    labels = []
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode("latin-1"))
        at += 1 + packet[at]
    return ".".join(labels), at + 1


def pack_data(kind, value):
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(value).packed
    if kind == "SRV":
        priority, weight, port, target = value
        return struct.pack(">3H", priority, weight, port) + pack_name(target)
    return pack_name(value)


def pack_record(owner, kind, ttl, data):
    return pack_name(owner) + struct.pack(">HHIH", TYPES[kind], 1, ttl, len(data)) + data


class DnsServer:
    def __init__(self, address, port=53, negative_ttl=60):
        self.address, self.port, self.negative_ttl = address, port, negative_ttl
        self.records = {}   # lower-case name -> [(type, ttl, value)]
        self.failures = {}  # (lower-case name, type or None) -> how
        self.queries = []   # (type, name) as they came
        self.lock = threading.Lock()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for sock in (self.udp, self.tcp):
            sock.bind((address, port))
        self.tcp.listen(32)
        for serve in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def add(self, name, kind, value, ttl=300):
        with self.lock:
            self.records.setdefault(name.lower(), []).append((kind, ttl, value))

    def remove(self, name):
        with self.lock:
            self.records.pop(name.lower(), None)

    def fail(self, name, how, kind=None):
        with self.lock:
            self.failures[name.lower(), kind] = how

    def heal(self, name, kind=None):
        with self.lock:
            self.failures.pop((name.lower(), kind), None)

    def asked(self, name, kind=None):
        """How often, so far."""
        with self.lock:
            return sum(1 for k, n in self.queries if n.lower() == name.lower() and kind in (None, k))

    def close(self):
        for sock in (self.udp, self.tcp):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def serve_udp(self):
        while True:
            try:
                query, peer = self.udp.recvfrom(4096)
                answer = self.answer(query, udp=True) if len(query) > 12 else None
                if answer:
                    self.udp.sendto(answer, peer)
            except OSError:
                return

    def serve_tcp(self):
        while True:
            try:
                sock, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self.serve_connection, args=(sock,), daemon=True).start()

    def serve_connection(self, sock):
        with sock, sock.makefile("rb") as lines:
            while len(size := lines.read(2)) == 2:
                answer = self.answer(lines.read(struct.unpack(">H", size)[0]), udp=False)
                if not answer:
                    return
                sock.sendall(struct.pack(">H", len(answer)) + answer)

    def answer(self, query, udp):
        """The packet to send, None for silence."""
        name, at = read_name(query, 12)
        number = struct.unpack(">H", query[at:at + 2])[0]
        kind = TYPE_NAMES.get(number, str(number))
        with self.lock:
            self.queries.append((kind, name))
            how = self.failures.get((name.lower(), kind)) or self.failures.get((name.lower(), None))
        question = query[12:at + 4]
        if how == "timeout":
            return None
        if how == "garbage":
            return query[:2] + b"\x84\x00" + b"\xff" * 20
        if how == "truncate" and udp:
            return self.packet(query, question, NOERROR, [], truncated=True)
        if how in ("servfail", "refused"):
            return self.packet(query, question, SERVFAIL if how == "servfail" else REFUSED, [])
        answers, code = self.find(name, kind)
        if how == "nxdomain":
            answers, code = [], NXDOMAIN
        packet = self.packet(query, question, code, answers)
        return packet if not udp or len(packet) <= 1232 else \
            self.packet(query, question, NOERROR, [], truncated=True)

    def find(self, name, kind):
        """Follows aliases; ([packed records], response code)."""
        answers, owner = [], name
        for _ in range(CHAIN_MAX):
            with self.lock:
                records = list(self.records.get(owner.lower(), ()))
            if not records:
                return answers, NOERROR if self.has_below(owner) else NXDOMAIN
            wanted = [record for record in records if record[0] == kind]
            alias = [record for record in records if record[0] == "CNAME"]
            for found, ttl, value in wanted or alias:
                answers.append(pack_record(owner, found, ttl, pack_data(found, value)))
            if wanted or not alias:
                break
            owner = alias[0][2]
        return answers, NOERROR

    def has_below(self, name):
        with self.lock:
            return any(known.endswith("." + name.lower()) for known in self.records)

    @staticmethod
    def is_found(question, answers):
        """Whether the last record is of the type asked for: aliases alone are no answer (RFC 2308, 2.2)."""
        if not answers:
            return False
        _, at = read_name(answers[-1], 0)
        return answers[-1][at:at + 2] == question[-4:-2]

    def packet(self, query, question, code, answers, truncated=False):
        flags = 0x8400 | (0x0200 if truncated else 0) | (query[2] & 1) << 8 | 0x0080 | code
        authority = []
        if not self.is_found(question, answers) and code in (NOERROR, NXDOMAIN) and not truncated:
            soa = pack_name("ns.invalid") + pack_name("admin.invalid") + \
                struct.pack(">5I", 1, 3600, 600, 86400, self.negative_ttl)
            authority = [pack_record("", "SOA", self.negative_ttl, soa)]
        head = query[:2] + struct.pack(">5H", flags, 1, len(answers), len(authority), 0)
        return head + question + b"".join(answers) + b"".join(authority)
