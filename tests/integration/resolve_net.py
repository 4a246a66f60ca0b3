"""A test network for `doorstep resolve`: names that answer oddly and web servers that misbehave.

Everything asked is written into `log` in the order it came, so that a test can say what was asked
for and what was not, whatever the program says about itself:

    addr NAME     A or AAAA question        srv NAME     SRV question
    get HOST /PATH  a request (Host as sent)    dial HOST   a connection to one that never gets that far
"""

import json
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import warnings

from support.dns_server import (NOERROR, NXDOMAIN, SERVFAIL, TYPES, DnsServer, pack_data, pack_name,
                                pack_record, read_name)
from support.door import executable, uci
from support.pki import Authority, openssl
from support.process import clean_env
from support.raw import Server, reset, server_context
from support.world import claim_network

# host part of an address -> what answers there on port 443; 2 is the ordinary web server, 3 the DNS server
WEB, WEB_BY_ADDRESS, OLD_TLS, TLS12, RESETS, SILENT, PLAIN, RSA, NOBODY, CUTS, FUSSY, WRONG = 2, *range(4, 15)
OTHER_PORT = 14443
FORMERR, NOTIMP = 1, 4


class OddDns(DnsServer):
    """More ways to answer than a decent server has; `fail(name, how, kind)` chooses."""

    def __init__(self, address, log):
        self.log = log
        self.dropped = set()
        super().__init__(address, negative_ttl=7200)

    def note(self, kind, name):
        event = f"{'srv' if kind == 'SRV' else 'addr'} {name.lower()}"
        with self.lock:
            self.log.append(event)

    def answer(self, query, udp):
        name, at = read_name(query, 12)
        number = struct.unpack(">H", query[at:at + 2])[0]
        kind = {1: "A", 28: "AAAA", 33: "SRV"}.get(number, str(number))
        self.note(kind, name)
        with self.lock:
            how = self.failures.get((name.lower(), kind)) or self.failures.get((name.lower(), None))
        odd = getattr(self, f"odd_{(how or '').replace('-', '_')}", None)
        if odd:
            return odd(query, query[12:at + 4], name, kind, udp)
        return super().answer(query, udp)

    @staticmethod
    def message(query, question, answers=(), authority=(), code=NOERROR):
        """Just these records: nothing is added."""
        head = query[:2] + struct.pack(">5H", 0x8580 | code, 1, len(answers), len(authority), 0)
        return head + question + b"".join(answers) + b"".join(authority)

    def odd_formerr(self, query, question, *_):
        return self.packet(query, question, FORMERR, [])

    def odd_no_edns(self, query, question, name, kind, _):
        """Older than EDNS (RFC 6891, 7)."""
        if query[11]:
            return self.message(query, question, code=FORMERR)
        return self.packet(query, question, *reversed(self.find(name, kind)))

    def odd_notimp(self, query, question, *_):
        return self.packet(query, question, NOTIMP, [])

    def odd_no_soa(self, query, question, *_):
        """Absence without the record that says for how long."""
        return self.message(query, question)

    def odd_nxdomain_no_soa(self, query, question, *_):
        return self.message(query, question, code=NXDOMAIN)

    def odd_referral(self, query, question, name, *_):
        """Not an answer: ask somebody else."""
        authority = pack_record(name.split(".", 1)[1], "NS", 300, pack_name("ns.example.com"))
        return self.message(query, question, authority=[authority])

    def odd_wrong_question(self, query, question, *_):
        """The answer to something else."""
        other = pack_name("other.example.org") + question[-4:]
        return self.message(query, other)

    def odd_cut(self, query, question, name, kind, _):
        """A packet that ends in the middle of a record."""
        return self.packet(query, question, NOERROR, self.find(name, kind)[0])[:-3]

    def odd_long_record(self, query, question, name, kind, _):
        """Record data longer than the record may be."""
        data = pack_data(kind, self.records[name.lower()][0][2]) + b"\0\0"
        return self.packet(query, question, NOERROR, [pack_record(name, kind, 300, data)])

    def odd_tcp_broken(self, query, question, name, kind, udp):
        """Truncated on UDP; TCP ends without a word."""
        return self.packet(query, question, NOERROR, [], truncated=True) if udp else None

    def odd_truncated_part(self, query, question, name, kind, udp):
        """The first record on UDP, marked as cut; all of them on TCP."""
        answers, _ = self.find(name, kind)
        if not udp:
            return self.packet(query, question, NOERROR, answers)
        packet = self.packet(query, question, NOERROR, answers[:1])
        return packet[:2] + bytes([packet[2] | 2]) + packet[3:]

    def odd_first_lost(self, query, question, name, kind, udp):
        """The first packet is lost on the way."""
        if (name, kind) not in self.dropped:
            self.dropped.add((name, kind))
            return None
        return self.packet(query, question, NOERROR, self.find(name, kind)[0])

    def odd_servfail_once(self, query, question, name, kind, udp):
        if (name, kind) not in self.dropped:
            self.dropped.add((name, kind))
            return self.packet(query, question, SERVFAIL, [])
        return self.packet(query, question, NOERROR, self.find(name, kind)[0])

    def odd_alias_only(self, query, question, name, *_):
        """A server that leaves it to the asker to follow an alias."""
        answers = [pack_record(name, kind, ttl, pack_data(kind, value))
                   for kind, ttl, value in self.records[name.lower()]]
        return self.message(query, question, answers)

    def odd_stranger(self, query, question, name, kind, _):
        """Records of somebody else, unasked for."""
        return self.packet(query, question, NOERROR, [pack_record("stranger.example.com", kind, 300,
                                                                  pack_data(kind, self.records[name.lower()][0][2]))])

    def odd_compressed(self, query, question, name, kind, _):
        """Owners as pointers to the question, as real servers write them."""
        records = [(k, t, v) for k, t, v in self.records[name.lower()] if k == kind]
        answers = [b"\xc0\x0c" + pack_record("", kind, ttl, pack_data(kind, value))[1:]
                   for kind, ttl, value in records]
        return self.message(query, question, answers)

    def odd_shouting(self, query, question, name, kind, _):
        """The same names in upper case."""
        answers = [pack_record(name.upper(), k, t, pack_data(k, v))
                   for k, t, v in self.records[name.lower()] if k == kind]
        loud = pack_name(name.upper()) + question[-4:]
        return self.message(query, loud, answers)

    def odd_pointer_loop(self, query, question, name, kind, _):
        """An owner that points at itself."""
        at = 12 + len(question)
        record = struct.pack(">H", 0xc000 | at) + struct.pack(">HHIH", TYPES[kind], 1, 300, 4) + b"\x7f\0\0\1"
        return self.message(query, question, [record])


class Web(Server):
    """An HTTPS server: what a page does is a function of the exchange, chosen by host and path."""

    def __init__(self, net, host, port=443, context=None, address=None):
        self.net = net
        super().__init__((address or net.address(host), port), context, self.serve_page)

    def serve_page(self, exchange):
        request = exchange.request
        host, path = (request.get("host") or b"").decode(), request.target.decode()
        self.net.note(f"get {host} {path}")
        if request.method != b"GET" or request.body:
            self.net.faults.append(f"a {request.method} for {host}{path}")
        page = self.net.pages.get((host, path))
        if page:
            page(exchange)
        else:
            exchange.respond(404, b"not here", [(b"Content-Type", b"text/plain")], b"Not Found")


class Rude:
    """Accepts, and then does what `act(sock)` does."""

    def __init__(self, net, host, act):
        self.net, self.act, self.host = net, act, host
        self.kept = []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((net.address(host), 443))
        self.listener.listen(32)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.net.note(f"dial {self.host}")
            self.act(sock)
            self.kept.append(sock)

    def close(self):
        self.listener.close()
        for sock in self.kept:
            sock.close()


def say_plain(sock):
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def say_half_a_record(sock):
    """The beginning of a TLS record, then the end."""
    sock.sendall(b"\x16\x03\x03\x40")
    sock.shutdown(socket.SHUT_WR)


class Network:
    def __init__(self):
        self.network, self.lock = claim_network("127.50")
        self.directory = tempfile.mkdtemp(prefix="doorstep-")
        self.authority = Authority(os.path.join(self.directory, "pki"))
        self.stranger = Authority(os.path.join(self.directory, "stranger"), "an authority nobody knows")
        self.log, self.faults, self.pages = [], [], {}
        self.dns = OddDns(self.address(3), self.log)
        self.servers = []
        self.has_ipv6 = False
        self.config = self.write("resolve.conf", self.main())

    def __enter__(self):
        self.serve()
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.close()
        self.dns.close()
        self.lock.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def address(self, host):
        return f"{self.network}.{host}"

    def note(self, event):
        with self.dns.lock:
            self.log.append(event)

    def events(self, label):
        """What was asked about hosts and paths of this label, repeats beside each other told once."""
        with self.dns.lock:
            mine = [event for event in self.log if re.search(rf"(?<![\w-]){re.escape(label)}\.", event, re.I)]
        return [event for i, event in enumerate(mine) if i == 0 or event != mine[i - 1]]

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, text):
        path = self.path(name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def main(self, allow=("127.0.0.0/8", "::1/128", "fd50::/16"), **options):
        """No other section: all that `resolve` needs."""
        return uci([("doorstep", "main", {"dns": f"{self.dns.address}:53", "ca_file": self.authority.file,
                                          "allow_range": list(allow), **options})])

    # ---- servers ----

    def certificates(self):
        """{SNI: certificate}; every other name below example.org is covered by the wildcard."""
        issue = self.authority.issue
        return {
            "tls-wrong-name.example.org": issue("other.example.org"),
            "tls-expired.example.org": self.authority.issue_expired("tls-expired.example.org"),
            "tls-future.example.org": self.authority.issue_future("tls-future.example.org"),
            "tls-cn-only.example.org": self.authority.issue_common_name_only("tls-cn-only.example.org"),
            "tls-unknown.example.org": self.stranger.issue("tls-unknown.example.org"),
            "tls-self.example.org": self.self_signed("tls-self.example.org"),
            "tls-address.example.org": issue(addresses=[self.address(WEB)]),
            "tls-exact.example.org": issue("tls-exact.example.org", "www.example.org"),
            "tls-partial.example.org": issue("tls-*.example.org"),
            "tls-top.example.org": issue("*.org"),
            "tls-upper.example.org": issue("TLS-UPPER.Example.ORG"),
            **self.chains(),
        }

    def chains(self):
        """From an authority below ours; with its certificate sent along, and without."""
        below = Authority(self.path("below"), "doorstep test authority, second floor")
        extensions = self.write("below.ext", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
        openssl("req", "-new", "-key", below.key, "-subj", "/CN=doorstep test authority, second floor",
                "-out", self.path("below.csr"))
        openssl("x509", "-req", "-in", self.path("below.csr"), "-CA", self.authority.file, "-CAkey",
                self.authority.key, "-CAcreateserial", "-days", "30", "-extfile", extensions, "-out", below.file)
        whole, alone = below.issue("tls-chain.example.org"), below.issue("tls-no-chain.example.org")
        with open(below.file, encoding="ascii") as middle, open(whole.chain, "a", encoding="ascii") as chain:
            chain.write(middle.read())
        return {"tls-chain.example.org": whole, "tls-no-chain.example.org": alone}

    def self_signed(self, name):
        stem = os.path.join(self.directory, name)
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
                "-keyout", stem + ".key", "-out", stem + ".pem")
        return type(self.wildcard)(stem + ".pem", stem + ".key")

    @staticmethod
    def context_for(certificate, maximum, minimum=None):
        context = server_context(certificate)
        if minimum:
            context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that these versions are old is the point
            if minimum:
                context.minimum_version = minimum
            context.maximum_version = maximum
        return context

    def fussy_context(self):
        """Another curve than the one that is offered first; and it would like a client certificate."""
        context = server_context(self.wildcard)
        context.set_ecdh_curve("secp384r1")
        context.load_verify_locations(self.authority.file)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def sni_context(self):
        """Certificates by SNI; without SNI the one with the IP address."""
        contexts = {name: server_context(one) for name, one in self.certificates().items()}
        ordinary = server_context(self.wildcard)
        by_address = server_context(self.authority.issue("nobody.example.org",
                                                         addresses=[self.address(WEB), "::1"]))

        def choose(sock, name, _):
            self.note(f"sni {name}")
            sock.context = contexts.get(name, ordinary) if name else by_address

        by_address.sni_callback = choose
        return by_address

    def serve(self):
        self.wildcard = self.authority.issue("*.example.org", "*.r.example.org")
        ordinary = self.sni_context()
        tls = ssl.TLSVersion
        self.servers += [
            Web(self, WEB, context=ordinary),
            Web(self, WEB, OTHER_PORT, ordinary),
            Web(self, WEB_BY_ADDRESS, context=server_context(self.wildcard)),  # lacks its own IP
            Web(self, OLD_TLS, context=self.context_for(self.wildcard, tls.TLSv1_1, tls.TLSv1)),
            Web(self, TLS12, context=self.context_for(self.wildcard, tls.TLSv1_2)),
            Web(self, FUSSY, context=self.fussy_context()),
            Web(self, WRONG, context=server_context(self.authority.issue("other.example.org"))),
            Web(self, RSA, context=server_context(self.authority.issue("*.example.org", rsa=True))),
            Rude(self, RESETS, reset),
            Rude(self, SILENT, lambda sock: None),
            Rude(self, PLAIN, say_plain),
            Rude(self, CUTS, say_half_a_record),
        ]
        try:
            self.servers.append(Web(self, None, OTHER_PORT, ordinary, "::1"))
            self.has_ipv6 = True
        except OSError:
            pass

    # ---- the program ----

    @staticmethod
    def run(*args, wrap=()):
        return subprocess.run([*wrap, executable(), *args], capture_output=True, timeout=60, check=False,
                              env=clean_env(), stdin=subprocess.DEVNULL)

    def resolve(self, *args, config=True, wrap=()):
        """config: True for ours, a path, or False for none."""
        options = ["--config", config if isinstance(config, str) else self.config] if config else []
        return self.run("resolve", *options, *args, wrap=wrap)


def document(done):
    """The one JSON document on standard output, its shape checked."""
    text = done.stdout.decode("utf-8")
    value, end = json.JSONDecoder().raw_decode(text)
    assert text[end:] == "\n", "one document and a line end"
    assert isinstance(value, dict)
    assert {"server_name", "steps", "addresses", "host_header", "tls_name", "expires_in_s", "error"} <= set(value)
    assert isinstance(value["steps"], list) and value["steps"]
    assert isinstance(value["addresses"], list)
    assert isinstance(value["expires_in_s"], int) and 0 <= value["expires_in_s"] <= 172800
    for address in value["addresses"]:
        assert re.fullmatch(r"(\d+(\.\d+){3}|\[[0-9a-f:.]+\]):[1-9]\d*", address), address
    if value["error"] is None:
        assert value["addresses"] and value["host_header"] and value["tls_name"]
    else:
        assert re.fullmatch(r"[a-z][a-z-]*", value["error"])
        assert not value["addresses"] and value["host_header"] is None and value["tls_name"] is None
    return value
