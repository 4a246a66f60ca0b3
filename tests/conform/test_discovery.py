"""doorstep resolve in worlds made at random, against a second reading of the specification.

A world is a name, what its web server answers, and what DNS knows. `expected` reads "Resolving server
names" of the Server-Server API once more, in the plainest words, and says what must come out. Nobody is
connected to but the web server, so targets may be any addresses.
"""

import collections
import concurrent.futures
import ipaddress
import json
import os
import random
import re
import threading

import pytest

from support.world import World

SEED = int(os.environ.get("SEED", 20240701))
WORLDS = 240
ZONE = "conform.example"

Web = collections.namedtuple("Web", "status fields body hops", defaults=([], b"", ()))
Found = collections.namedtuple("Found", "addresses host tls life")
Failed = collections.namedtuple("Failed", "error")
Hop = collections.namedtuple("Hop", "status location is_refused")

HOUR, DAY = 3600, 86400
NEGATIVE_TTL = 600


class Case:
    """One name; everything in it is at or below that name."""

    def __init__(self, number):
        self.name = f"n{number}.{ZONE}"
        self.records = {}  # name -> {type: (ttl, [values])} or "servfail"
        self.web = None    # None: nobody listens; else Web

    def add(self, owner, kind, ttl, *values):
        self.records.setdefault(owner, {})[kind] = (ttl, list(values))

    def look(self, owner, kind):
        """("found", ttl, values), ("absent", ttl) or ("failed",)"""
        least = 2 ** 32
        for _ in range(8):
            entry = self.records.get(owner)
            if entry == "servfail":
                return ("failed",)
            if entry is None or kind not in entry and "CNAME" not in entry:
                return ("absent", NEGATIVE_TTL)
            if kind in entry:
                return ("found", min(least, entry[kind][0]), entry[kind][1])
            least, (owner,) = min(least, entry["CNAME"][0]), entry["CNAME"][1]
        return ("failed",)


# ---- the second reading ----

PRIVATE = [ipaddress.ip_network(text) for text in (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3",
    "::/96", "::ffff:0:0/96", "fc00::/7", "fe80::/10", "ff00::/8", "2001:db8::/32", "2002::/16")]


def is_bad(address):
    return any(address in network for network in PRIVATE if network.version == address.version)


def split(text):
    """(host, port or None, is_ip) of a server name, or None."""
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]{1,255})(?::([0-9]{1,5}))?", text)
    if not found or found[2] and not 0 < int(found[2]) < 65536:
        return None
    host, port = found[1].strip("[]"), int(found[2]) if found[2] else None
    try:
        ipaddress.ip_address(host)
        return host, port, True
    except ValueError:
        pass
    labels = host.split(".")
    if not all(1 <= len(label) <= 63 for label in labels) or labels[-1].isdigit() or text.startswith("["):
        return None
    return host, port, False


def is_local(host):
    lower = host.lower()
    return "." not in host or any(("." + lower).endswith(end) for end in (
        ".localhost", ".local", ".lan", ".home.arpa", ".internal", ".onion"))


def read_document(web):
    """(m.server, life range) or None."""
    if web is None or web.status != 200 or len(web.body) >= 50 * 1024:
        return None
    if len(web.hops) > 5 or any(hop.is_refused for hop in web.hops):
        return None
    try:
        document = json.loads(web.body.decode("utf-8"))
    except ValueError:
        return None
    name = document.get("m.server") if isinstance(document, dict) else None
    if not isinstance(name, str) or split(name) is None:
        return None
    return name, document_life(dict(web.fields))


def document_life(fields):
    control = fields.get(b"Cache-Control", b"").decode()
    ages = re.findall(r"max-age=(\d+)", control)
    if "no-store" in control:
        return (300, 300)
    if not ages:
        return (0.9 * DAY, 1.1 * DAY)
    life = min(max(int(ages[-1]) - int(fields.get(b"Age", b"0")), 300), 2 * DAY)
    return (life, life)


class Oracle:
    def __init__(self, case):
        self.case, self.low, self.high = case, 2 * DAY, 2 * DAY

    def live(self, low, high):
        self.low, self.high = min(self.low, low), min(self.high, high)

    def found(self, addresses, host, tls):
        return Found(addresses, host, tls, (self.low, self.high))

    def addresses(self, owner, port):
        """A list, or why there is none."""
        four, six = self.case.look(owner, "A"), self.case.look(owner, "AAAA")
        for answer in (four, six):
            if answer[0] == "failed":
                return "dns-failure"
        values = [value for answer in (four, six) if answer[0] == "found" for value in answer[2]]
        if not values:
            return "no-record"
        self.live(*[clamp(min(answer[1] for answer in (four, six) if answer[0] == "found"), DAY)] * 2)
        if any(is_bad(ipaddress.ip_address(value)) for value in values):
            return "blocked"
        return {(value, port) for value in values}

    def at_host(self, host, port, header):
        got = self.addresses(host, port)
        return Failed(got) if isinstance(got, str) else self.found([got], header, host)

    def at_ip(self, text, host, port):
        if is_bad(ipaddress.ip_address(host)):
            return Failed("blocked")
        address = str(ipaddress.ip_address(host))
        return self.found([{(address, port or 8448)}], text, address)

    def at_service(self, host):
        for service in ("_matrix-fed", "_matrix"):
            answer = self.case.look(f"{service}._tcp.{host}", "SRV")
            if answer[0] == "failed":
                return Failed("dns-failure")
            if answer[0] == "absent":
                self.live(*[clamp(answer[1], HOUR)] * 2)
                continue
            return self.at_targets(answer, host)
        return self.at_host(host, 8448, host)

    def at_targets(self, answer, host):
        self.live(*[clamp(answer[1], DAY)] * 2)
        targets = [value for value in answer[2] if value[3] != "." and value[2] != 0]
        if not targets:
            return Failed("service-absent" if all(value[3] == "." for value in answer[2]) else "no-record")
        found, why = [], set()
        for priority in sorted({value[0] for value in targets}):
            group = set()
            for _, _, port, target in [value for value in targets if value[0] == priority]:
                got = self.addresses(target, port) if not is_local(target) else "blocked"
                if isinstance(got, str):
                    why.add(got)
                    if got == "no-record":
                        self.live(*[clamp(NEGATIVE_TTL, HOUR)] * 2)
                    if got == "dns-failure":
                        self.live(60, 60)
                else:
                    group |= got
            group -= set().union(*found)
            if group:
                found.append(group)
        if found:
            return self.found(found, host, host)
        return Failed(next(error for error in ("dns-failure", "blocked", "no-record") if error in why))

    def resolve(self):
        document = read_document(self.case.web)
        if self.case.look(self.case.name, "A")[0] == "failed":
            self.live(0.9 * 120, 1.1 * 120)
            return self.at_service(self.case.name)
        if document is None or self.case.look(self.case.name, "A")[0] == "absent":
            self.live(0.9 * HOUR, 1.1 * HOUR)
            return self.at_service(self.case.name)
        name, life = document
        self.live(*life)
        host, port, is_ip = split(name)
        if is_ip:
            return self.at_ip(name, host, port)
        if is_local(host):
            return Failed("blocked")
        if port:
            return self.at_host(host, port, name)
        return self.at_service(host)


def clamp(ttl, most):
    return min(max(ttl, 60), most)


# ---- worlds ----

GOOD = ["8.8.8.8", "9.9.9.9", "203.1.2.3", "127.99.1.1", "127.99.1.2", "1.2.3.4"]
GOOD6 = ["2620:fe::fe", "2a00:1450::7", "2003:1::2"]
BAD = ["10.1.2.3", "192.168.1.1", "169.254.1.1", "100.64.0.1"]
BAD6 = ["fd00::1", "fe80::1", "2001:db8::1"]


def add_host(case, owner, rng):
    """Addresses of a name, or something wrong with it."""
    kind = rng.choices(["four", "six", "both", "alias", "absent", "bad", "mixed", "servfail", "other"],
                       [8, 2, 5, 3, 2, 1, 1, 1, 1])[0]
    ttl = rng.choice([0, 30, 120, 900, 3600, 200000])
    if kind in ("four", "both", "mixed"):
        case.add(owner, "A", ttl, *rng.sample(GOOD, rng.randint(1, 2)), *(rng.sample(BAD, 1) if kind == "mixed" else []))
    if kind in ("six", "both"):
        case.add(owner, "AAAA", rng.choice([ttl, 600]), *rng.sample(GOOD6, rng.randint(1, 2)))
    if kind == "bad":
        if rng.random() < 0.5:
            case.add(owner, "A", ttl, rng.choice(BAD))
        else:
            case.add(owner, "AAAA", ttl, rng.choice(BAD6))
    if kind == "alias":
        case.add(owner, "CNAME", 300, f"real-{owner}")
        case.add(f"real-{owner}", "A", max(ttl, 300), rng.choice(GOOD))
    if kind == "servfail":
        case.records[owner] = "servfail"
    if kind == "other":
        case.add(owner, "SRV", 300, (1, 1, 1, "x.example.net"))


def add_service(case, host, service, rng):
    owner = f"{service}._tcp.{host}"
    kind = rng.choices(["absent", "records", "root", "root-beside", "port-0", "servfail", "nodata"], [10, 8, 1, 1, 1, 1, 1])[0]
    ttl = rng.choice([10, 300, 7200])
    if kind == "servfail":
        case.records[owner] = "servfail"
    if kind == "nodata":
        case.add(owner, "A", 300, "8.8.8.8")
    if kind == "root":
        case.add(owner, "SRV", ttl, (0, 0, 0, "."))
    if kind == "port-0":
        case.add(owner, "SRV", ttl, (0, 0, 0, f"t1.{host}"))
    if kind not in ("records", "root-beside"):
        return
    values = [(0, 0, 0, ".")] if kind == "root-beside" else []
    for number in range(rng.randint(1, 4)):
        target = rng.choices([f"t{number}.{host}", "router.lan"], [12, 1])[0]
        values.append((rng.randint(0, 2) * 10, rng.randint(0, 5), rng.choice([443, 8448, 8449]), target))
        if target not in case.records and target != "router.lan":
            add_host(case, target, rng)
    case.add(owner, "SRV", ttl, *values)


def document(rng, name):
    body = json.dumps({"m.server": name}).encode()
    return rng.choice([body, b" " + body + b"\r\n", body[:-1] + b', "x": [1, {"m.server": "no.example"}]}',
                       b'{"m.server": "first.example", ' + body[1:]])


def add_web(case, rng):
    """What .well-known says; the host it delegates to, if any."""
    host = f"matrix.{case.name}"
    fields = rng.choice([[], [], [(b"Cache-Control", b"max-age=%d" % rng.choice([1, 400, 5000, 999999]))],
                         [(b"Cache-Control", b"no-store")],
                         [(b"Cache-Control", b"max-age=5000"), (b"Age", b"1000")]])
    kind = rng.choices(["none", "host", "port", "ip", "ip-port", "bad-ip", "local", "self", "broken", "status", "closed"],
                       [6, 12, 5, 2, 2, 1, 1, 2, 5, 3, 3])[0]
    names = {"host": host, "port": f"{host}:{rng.choice([443, 8448, 65535])}", "ip": rng.choice(GOOD),
             "ip-port": f"[{rng.choice(GOOD6)}]:4443", "bad-ip": rng.choice(BAD), "local": "nas.lan", "self": case.name}
    if kind in names:
        case.web = Web(200, fields, document(rng, names[kind]))
    elif kind == "broken":
        case.web = Web(200, fields, rng.choice([
            b"", b"{}", b"[]", b"nothing", b'{"m.server": 5}', b'{"m.server": ""}', b'{"m.server": "a b"}',
            b'{"m.server": "%s"} x' % host.encode(), b'{"m.server": "%s:0"}' % host.encode(),
            b'{"m.server": "%s:65536"}' % host.encode(), b'{"M.server": "%s"}' % host.encode(),
            b'{"m.server": "%s"}' % host.encode() + b" " * 60000, b'{"m.server": "1.2.3"}',
            b'{"m.server": "https://%s"}' % host.encode(), b'\xff{"m.server": "%s"}' % host.encode()]))
    elif kind in ("status", "none"):
        body = document(rng, host) if kind == "status" else b"not here"
        case.web = Web(404 if kind == "none" else rng.choice([201, 404, 403, 500, 503]), fields, body)
    return host if kind in ("host", "port") else None


def make_hops(case, rng):
    """Redirects to /.well-known/matrix/hop1, hop2 ..., perhaps with one that must not be followed."""
    forms = ["/.well-known/matrix/hop{}", "hop{}", "./hop{}#part", "../x/../matrix/hop{}", "https://{name}/.well-known/matrix/hop{}",
             "//{name}:443/.well-known/matrix/hop{}", "HTTPS://{name}:/.well-known/matrix/hop{}"]
    bad = ["http://{name}/hop{}", "https://u@{name}/hop{}", "https://router.lan/hop{}", "https://127.0.0.0x1/hop{}",
           "https://{name}:22/hop{}", "https://10.0.0.1/hop{}", "/.well-known/matrix/server", "/a b", "https:///hop{}", ""]
    count = rng.choice([1, 1, 2, 4, 5, 6])
    refused = rng.randrange(count) if rng.random() < 0.3 else None
    return tuple(Hop(rng.choice([301, 302, 303, 307, 308]),
                     rng.choice(bad if number == refused else forms).format(number + 1, name=case.name), number == refused)
                 for number in range(count))


def make_case(number, rng, web_address):
    case = Case(number)
    host = add_web(case, rng)
    if case.web and rng.random() < 0.25:
        case.web = case.web._replace(hops=make_hops(case, rng))
    base = rng.choices(["web", "absent", "servfail"], [30, 1, 1])[0]
    if base == "web":
        case.add(case.name, "A", rng.choice([60, 3000]), web_address if case.web else "127.99.9.9")
    elif base == "servfail":
        case.records[case.name] = "servfail"
    for owner in filter(None, [case.name, host]):
        for service in ("_matrix-fed", "_matrix"):
            add_service(case, owner, service, rng)
    if host:
        add_host(case, host, rng)
    return case


# ---- the test network ----

class Network:
    def __init__(self):
        self.world = World("127.42")
        self.world.dns.negative_ttl = NEGATIVE_TTL
        self.cases, self.lock = {}, threading.Lock()
        certificate = self.world.authority.issue(f"*.{ZONE}", ZONE)
        self.web = self.world.server((5, 443), self.answer, certificate)
        self.door = self.world.door([self.world.main()], start=False)

    def answer(self, exchange):
        web = self.cases[exchange.request.get("host").decode()].web
        at = re.fullmatch(r"/\.well-known/matrix/(?:server|hop([0-9]))", exchange.request.target.decode())
        hop = int(at[1] or 0)
        if hop < len(web.hops):
            exchange.respond(web.hops[hop].status, b"", [(b"Location", web.hops[hop].location.encode())])
        else:
            exchange.respond(web.status, web.body, web.fields)
        exchange.close()

    def put(self, case):
        self.cases[case.name] = case
        for owner, entry in case.records.items():
            if entry == "servfail":
                self.world.dns.fail(owner, "servfail")
                continue
            for kind, (ttl, values) in entry.items():
                for value in values:
                    self.world.dns.add(owner, kind, value, ttl)

    def close(self):
        self.world.doors.clear()  # never started
        self.world.close()


@pytest.fixture(scope="module")
def network():
    made = Network()
    yield made
    made.close()


def parse(address):
    host, port = address.rsplit(":", 1)
    return str(ipaddress.ip_address(host.strip("[]"))), int(port)


def differences(case, status, got, want):
    """What is not as expected, in words."""
    if isinstance(want, Failed):
        if (status, got["error"]) != (1, want.error):
            yield f"exit {status}, error {got['error']}, not {want.error}"
        return
    if (status, got["error"]) != (0, None):
        yield f"exit {status}, error {got['error']}, but {want} expected"
        return
    if (got["host_header"], got["tls_name"]) != (want.host, want.tls):
        yield f"Host {got['host_header']}, TLS {got['tls_name']}, not {want.host}, {want.tls}"
    addresses = [parse(address) for address in got["addresses"]]
    for group in want.addresses:
        if set(addresses[:len(group)]) != group:
            yield f"addresses {got['addresses']}, not {want.addresses}"
            return
        addresses = addresses[len(group):]
    if addresses:
        yield f"more addresses than {want.addresses}: {addresses}"
    if not want.life[0] - 8 <= got["expires_in_s"] <= want.life[1]:
        yield f"fresh for {got['expires_in_s']} s, not {want.life}"


def test_random_worlds(network):
    rng = random.Random(SEED)
    cases = [make_case(number, rng, network.web.where[0]) for number in range(WORLDS)]
    for case in cases:
        network.put(case)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda case: network.door.resolve(case.name), cases))
    wrong, seen = [], collections.Counter()
    for case, (status, got) in zip(cases, answers):
        want = Oracle(case).resolve()
        seen[type(want).__name__ if isinstance(want, Found) else want.error] += 1
        wrong += [f"{case.name}: {text}\n  {case.records}\n  {case.web}\n  {json.dumps(got['steps'], indent=1)}"
                  for text in differences(case, status, got, want)]
    assert not wrong, "\n".join(wrong[:3]) + f"\n{len(wrong)} differences"
    assert all(seen[kind] >= 4 for kind in ("Found", "dns-failure", "no-record", "blocked", "service-absent")), seen


def test_names(network):
    """Names that are no names, IP literals, ports, spelling."""
    rows = [
        ("8.8.8.8", Found([{("8.8.8.8", 8448)}], "8.8.8.8", "8.8.8.8", (0, 2 * DAY))),
        ("8.8.8.8:443", Found([{("8.8.8.8", 443)}], "8.8.8.8:443", "8.8.8.8", (0, 2 * DAY))),
        ("[2620:FE:0::fe]", Found([{("2620:fe::fe", 8448)}], "[2620:FE:0::fe]", "2620:fe::fe", (0, 2 * DAY))),
        ("[2620:fe::fe]:1234", Found([{("2620:fe::fe", 1234)}], "[2620:fe::fe]:1234", "2620:fe::fe", (0, 2 * DAY))),
        ("10.0.0.1", Failed("blocked")), ("[::1]", Failed("blocked")), ("[::ffff:8.8.8.8]", Failed("blocked")),
        ("localhost", Failed("blocked")), ("router", Failed("blocked")), ("nas.lan:8448", Failed("blocked")),
        ("x.home.arpa", Failed("blocked")), ("127.0.0.0x1", Failed("blocked")),
        ("example.org:25", Failed("blocked")),
        ("", Failed("bad-syntax")), ("a..b", Failed("bad-syntax")), ("a_b.example", Failed("bad-syntax")),
        ("127.1", Failed("bad-syntax")), ("a.example:", Failed("bad-syntax")), ("[::1", Failed("bad-syntax")),
        ("a.example:0", Failed("out-of-range")), ("a.example:65536", Failed("out-of-range")),
        ("1.2.3.256", Failed("out-of-range")), ("a" * 64 + ".example", Failed("bad-syntax")),
        ("x" * 1000, Failed("bad-syntax")), ("a.example\n", Failed("bad-syntax")),
    ]
    case = Case("names")
    wrong = []
    for name, want in rows:
        status, got = network.door.resolve(name)
        wrong += [f"{name!r}: {text}" for text in differences(case, status, got, want)]
    assert not wrong, "\n".join(wrong)


def test_a_port_asks_neither_well_known_nor_services(network):
    case = Case("port")
    case.web = Web(200, [], b'{"m.server": "no.example:1"}')
    case.add(case.name, "A", 300, "9.9.9.9")
    network.put(case)
    status, got = network.door.resolve(f"{case.name}:8448")
    want = Found([{("9.9.9.9", 8448)}], f"{case.name}:8448", case.name, (300, 300))
    assert not list(differences(case, status, got, want))
    assert network.world.dns.asked(f"_matrix-fed._tcp.{case.name}") == 0


def test_a_silent_dns_server_is_a_failure(network):
    """Timeouts of service records are no absence either."""
    case = Case("silent")
    case.web = Web(404, [], b"")
    case.add(case.name, "A", 300, network.web.where[0])
    network.put(case)
    network.world.dns.fail(f"_matrix-fed._tcp.{case.name}", "timeout")
    status, got = network.door.resolve(case.name)
    assert status == 1 and got["error"] == "dns-failure"
