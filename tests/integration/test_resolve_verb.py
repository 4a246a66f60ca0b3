"""`doorstep resolve` against a network that answers in every way a stranger's might.

What is expected is taken from the Matrix specification (Server-Server API, "Resolving server names";
Appendices, "Server Name") and RFC 2782, 8259, 9110, 9111, 9112, 9525, not from the program. Each row
says by which rule. `asked` is what the network saw, in order: the steps really taken.
"""

import concurrent.futures
import random
import socket
import time
from dataclasses import dataclass
from email.utils import formatdate

import pytest

from resolve_net import (CUTS, FUSSY, NOBODY, OLD_TLS, OTHER_PORT, PLAIN, RESETS, RSA, SILENT, TLS12, WEB,
                         WEB_BY_ADDRESS, WRONG, Network, document)

WELL_KNOWN = "/.well-known/matrix/server"
HOUR, DAY = 3600, 86400

# ---- how rows are written ----
# In all texts: {n} is the server name's host, {d} a host it may be delegated to, {t} the target of a
# service record, {r} another web host, {web} the web server's address, {net} its first three bytes.


@dataclass(frozen=True)
class To:
    """Where to connect, and as whom."""
    addresses: tuple
    host: str
    tls: str
    any_order: bool = False


@dataclass(frozen=True)
class Fails:
    """Not resolved, for one of these reasons."""
    errors: tuple


@dataclass(frozen=True)
class Case:
    label: str
    rule: str
    expect: object
    name: str = "{n}"
    where: object = WEB  # the web server behind {n}; None: {n} has only what `zone` says
    page: object = None  # what it says for /.well-known/matrix/server; None: 404
    pages: tuple = ()    # (Host, path, page)
    zone: tuple = ()     # (name, type, value[, TTL])
    odd: tuple = ()      # (name, how[, type]): see resolve_net.OddDns
    asked: tuple = ()    # () says nothing
    expires: tuple = ()  # at least, at most


def to(*addresses, host="{n}", tls="{n}", any_order=False):
    return To(addresses, host, tls, any_order)


def fails(*errors):
    return Fails(errors)


def delegated(port=1234, host="{d}:1234"):
    return to(f"{{net}}.90:{port}", host=host, tls="{d}")


OWN = to("{web}:8448")  # step 6: the name itself
AT_TARGET = to("{net}.91:7000")
D_ADDRESS = ("{d}", "A", "{net}.90", DAY)
T_ADDRESS = ("{t}", "A", "{net}.91", DAY)
FED, OLD = "_matrix-fed._tcp.", "_matrix._tcp."
N_FED = (FED + "{n}", "SRV", (10, 5, 7000, "{t}"), DAY)
N_OLD = (OLD + "{n}", "SRV", (10, 5, 7000, "{t}"), DAY)

ASK_WELL_KNOWN = ("addr {n}", "sni {n}", "get {n} " + WELL_KNOWN)
ASK_SRV = (f"srv {FED}{{n}}", f"srv {OLD}{{n}}")
ASK_OWN = ASK_WELL_KNOWN + ASK_SRV + ("addr {n}",)
ASK_DELEGATED = ASK_WELL_KNOWN + ("addr {d}",)


def fill(text, words):
    for word, value in words.items():
        text = text.replace("{" + word + "}", value)
    return text


# ---- pages: made when the words are known ----

def page(body, status=200, fields=(("Content-Type", "application/json"),)):
    def make(words):
        data = body if isinstance(body, bytes) else fill(body, words).encode()

        def play(exchange):
            lines = [(name.encode(), fill(value() if callable(value) else value, words).encode())
                     for name, value in fields]
            exchange.respond(status, data, lines, b"Reason")
        return play
    return make


def raw(data, then=lambda exchange: None):
    """Exactly these bytes, then the end of the connection."""
    def make(words):
        answer = data if isinstance(data, bytes) else fill(data, words).encode()

        def play(exchange):
            exchange.send(answer)
            then(exchange)
            exchange.close()
        return play
    return make


def server(name="{d}:1234"):
    return '{"m.server":"%s"}' % name


def delegates(name="{d}:1234", status=200, fields=(("Content-Type", "application/json"),)):
    return page(server(name), status, fields)


def redirect(location, status=302):
    """Its own body would delegate, but is not the document."""
    return page(server("{n}:666"), status, (("Location", location),))


def cached(*fields):
    """Delegates to an address, so that no record's life counts."""
    return delegates("{net}.90", fields=fields)


def http(head, body):
    return head.replace("\n", "\r\n") + "\r\n\r\n" + body


def sized(size):
    """A document of exactly that many bytes."""
    def make(words):
        body = fill(server(), words).encode()
        return page(body[:-1] + b" " * (size - len(body)) + b"}")(words)
    return make


def drip(exchange, data, pause):
    for i in range(len(data)):
        exchange.send(data[i:i + 1])
        time.sleep(pause)


def slow_but_sure(words):
    body = fill(server(), words).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    return lambda exchange: drip(exchange, head + body, 0.02)


def too_slow(words):
    """One byte each half second, and no end in sight."""
    del words
    return lambda exchange: drip(exchange, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + b" " * 400, 0.5)


def late(seconds):
    def make(words):
        answer = delegates()(words)

        def play(exchange):
            time.sleep(seconds)
            answer(exchange)
        return play
    return make


def endless(data):
    def play(exchange):
        for _ in range(4000):
            exchange.send(data)
    return lambda words: play


def bare_end(exchange):
    """The end of the connection without a word from TLS, as many a simple server does it."""
    socket.socket.shutdown(exchange.sock, socket.SHUT_WR)


def drop(words):
    del words
    return lambda exchange: exchange.reset()


# ---- the rows of "Resolving server names" ----

TABLE = [
    Case("port", "2: a port in the name: no .well-known, no SRV", to("{web}:1234", host="{n}:1234"),
         "{n}:1234", page=delegates(), zone=(N_FED, N_OLD, T_ADDRESS), asked=("addr {n}",)),
    Case("port-443", "2: also if it is that of .well-known", to("{web}:443", host="{n}:443"), "{n}:443",
         page=delegates(), asked=("addr {n}",)),
    Case("port-8448", "2: also if it is the default", to("{web}:8448", host="{n}:8448"), "{n}:8448",
         zone=(N_FED,), asked=("addr {n}",)),
    Case("port-top", "2: the highest port", to("{web}:65535", host="{n}:65535"), "{n}:65535"),
    Case("wk-ip4", "3.1: an address needs no lookup", to("127.9.8.7:8448", host="127.9.8.7", tls="127.9.8.7"),
         page=delegates("127.9.8.7"), zone=(N_FED,), asked=ASK_WELL_KNOWN),
    Case("wk-ip4-port", "3.1", to("127.9.8.7:1234", host="127.9.8.7:1234", tls="127.9.8.7"),
         page=delegates("127.9.8.7:1234"), asked=ASK_WELL_KNOWN),
    Case("wk-ip6", "3.1", to("[fd50::7]:8448", host="[fd50::7]", tls="fd50::7"), page=delegates("[fd50::7]"),
         asked=ASK_WELL_KNOWN),
    Case("wk-ip6-port", "3.1", to("[fd50::7]:1234", host="[fd50::7]:1234", tls="fd50::7"),
         page=delegates("[fd50::7]:1234"), asked=ASK_WELL_KNOWN),
    Case("wk-port", "3.2: a port: addresses, no SRV", delegated(), page=delegates(),
         zone=(D_ADDRESS, (FED + "{d}", "SRV", (1, 1, 7000, "{t}")), T_ADDRESS), asked=ASK_DELEGATED),
    Case("wk-fed", "3.3: SRV _matrix-fed of the delegated name; Host and certificate are the delegated name's",
         to("{net}.91:7000", host="{d}", tls="{d}"), page=delegates("{d}"),
         zone=((FED + "{d}", "SRV", (1, 1, 7000, "{t}")), (OLD + "{d}", "SRV", (1, 1, 7001, "{t}")), T_ADDRESS,
               D_ADDRESS),
         asked=ASK_WELL_KNOWN + (f"srv {FED}{{d}}", "addr {t}")),
    Case("wk-old", "3.4: the deprecated record only without the other", to("{net}.91:7001", host="{d}", tls="{d}"),
         page=delegates("{d}"), zone=((OLD + "{d}", "SRV", (1, 1, 7001, "{t}")), T_ADDRESS, D_ADDRESS),
         asked=ASK_WELL_KNOWN + (f"srv {FED}{{d}}", f"srv {OLD}{{d}}", "addr {t}")),
    Case("wk-none", "3.5: port 8448, Host without port", delegated(8448, "{d}"), page=delegates("{d}"),
         zone=(D_ADDRESS, N_FED, T_ADDRESS),
         asked=ASK_WELL_KNOWN + (f"srv {FED}{{d}}", f"srv {OLD}{{d}}", "addr {d}")),
    Case("wk-self", "3.3-3.5: delegated to itself: no second .well-known", OWN, page=delegates("{n}"),
         asked=ASK_WELL_KNOWN + ASK_SRV + ("addr {n}",)),
    Case("wk-self-port", "3.2", to("{web}:443", host="{n}:443"), page=delegates("{n}:443"),
         asked=ASK_WELL_KNOWN + ("addr {n}",)),
    Case("wk-once", "3: the delegated host's own .well-known is not asked", to("{web}:8448", host="{r}", tls="{r}"),
         page=delegates("{r}"), pages=(("{r}", WELL_KNOWN, delegates()),), zone=(("{r}", "A", "{web}"), D_ADDRESS),
         asked=ASK_WELL_KNOWN + (f"srv {FED}{{r}}", f"srv {OLD}{{r}}", "addr {r}")),
    Case("wk-dead", "3: a usable .well-known ends the matter: the name's own records are not tried",
         fails("no-record"), page=delegates("{d}"), zone=(N_FED, T_ADDRESS),
         asked=ASK_WELL_KNOWN + (f"srv {FED}{{d}}", f"srv {OLD}{{d}}", "addr {d}")),
    Case("srv-fed", "4: SRV _matrix-fed; Host and certificate stay the name's", AT_TARGET, zone=(N_FED, T_ADDRESS),
         asked=ASK_WELL_KNOWN + (f"srv {FED}{{n}}", "addr {t}")),
    Case("srv-old", "5: the deprecated record", AT_TARGET, zone=(N_OLD, T_ADDRESS),
         asked=ASK_WELL_KNOWN + ASK_SRV + ("addr {t}",)),
    Case("srv-both", "4 before 5", AT_TARGET, zone=(N_FED, (OLD + "{n}", "SRV", (1, 1, 7001, "{d}")), T_ADDRESS, D_ADDRESS),
         asked=ASK_WELL_KNOWN + (f"srv {FED}{{n}}", "addr {t}")),
    Case("own", "6: port 8448, Host without port", OWN, asked=ASK_OWN),
    Case("own-nothing", "6: a name that does not exist", fails("no-record"), where=None),
    Case("srv-only", "4: a name with service records alone", AT_TARGET, where=None, zone=(N_FED, T_ADDRESS)),
    Case("case", "names keep their case as names (Appendices); in URLs, SNI and DNS it means nothing",
         to("{net}.90:1234", host="{D}:1234", tls="{D}"), "{N}", page=delegates("{D}:1234"), zone=(D_ADDRESS,),
         asked=ASK_DELEGATED),
    Case("case-own", "the same on the name itself", to("{web}:8448", host="{N}", tls="{N}"), "{N}", asked=ASK_OWN),
]

# ---- the document ----

VALID = [
    ("type-none", "SHOULD be application/json, readers assume JSON", delegates(fields=(("X-Nothing", "at all"),))),
    ("type-html", "the same", delegates(fields=(("Content-Type", "text/html; charset=utf-8"),))),
    ("type-binary", "the same", delegates(fields=(("Content-Type", "application/octet-stream"),))),
    ("type-broken", "the same", delegates(fields=(("Content-Type", ";;="),))),
    ("more-members", "unknown members mean nothing", page('{"a":[1,{"m.server":"x"}],"m.server":"{d}:1234","z":null}')),
    ("blanks", "RFC 8259, 2: white space", page(' \t\r\n{ "m.server"\n:\t"{d}:1234" } \r\n\r\n')),
    ("escapes", "RFC 8259, 7 and 8.3: escapes are the characters they stand for",
     page('{"m\\u002eserver":"{d}\\u003a12\\u0033\\u0034"}')),
    ("twice", "RFC 8259, 4: of members with one name the last counts, as other servers read it",
     page('{"m.server":"nowhere.example.com","m.server":"{d}:1234"}')),
    ("numbers", "RFC 8259, 6", page('{"x":[-0.1e+5,0,1E400,12345678901234567890],"m.server":"{d}:1234"}')),
    ("unicode", "RFC 8259, 8.1", page('{"ü":"ß 😀 \\ud83d\\ude00","m.server":"{d}:1234"}')),
    ("as-large-as-may-be", "50 KiB", sized(51199)),
]

INVALID = [
    ("empty", page("")),
    ("blank", page(" \n")),
    ("no-json", page("m.server={d}:1234")),
    ("html", page("<html><body>It works!</body></html>", fields=(("Content-Type", "text/html"),))),
    ("cut", page('{"m.server":"{d}:1234"')),
    ("cut-string", page('{"m.server":"{d}:1234')),
    ("array", page('["m.server","{d}:1234"]')),
    ("string", page('"{d}:1234"')),
    ("null", page("null")),
    ("number", page("8448")),
    ("no-member", page("{}")),
    ("other-member", page('{"m.homeserver":{"base_url":"https://{d}:1234"}}')),
    ("other-case", page('{"M.Server":"{d}:1234"}')),
    ("nested", page('{"m":{"server":"{d}:1234"}}')),
    ("value-null", page('{"m.server":null}')),
    ("value-number", page('{"m.server":1234}')),
    ("value-true", page('{"m.server":true}')),
    ("value-array", page('{"m.server":["{d}:1234"]}')),
    ("value-object", page('{"m.server":{"host":"{d}:1234"}}')),
    ("value-empty", delegates("")),
    ("value-blank", delegates(" ")),
    ("value-padded", delegates(" {d}:1234")),
    ("value-line-end", page('{"m.server":"{d}:1234\\n"}')),
    ("value-nul", page('{"m.server":"{d}\\u0000:1234"}')),
    ("value-url", delegates("https://{d}:1234")),
    ("value-path", delegates("{d}:1234/")),
    ("value-query", delegates("{d}?x")),
    ("value-user", delegates("me@{d}:1234")),
    ("value-port-0", delegates("{d}:0")),
    ("value-port-65536", delegates("{d}:65536")),
    ("value-port-empty", delegates("{d}:")),
    ("value-port-name", delegates("{d}:https")),
    ("value-port-twice", delegates("{d}:1234:1234")),
    ("value-labels", delegates("a..{d}:1234")),
    ("value-underscore", delegates("_x.{d}:1234")),
    ("value-unicode", delegates("ü.{d}:1234")),
    ("value-ip4-range", delegates("127.0.0.256")),
    ("value-ip4-short", delegates("127.1:1234")),
    ("value-ip6-bare", delegates("fd50::1")),
    ("value-ip6-broken", delegates("[fd50::1::2]:1234")),
    ("value-ip6-zone", delegates("[fe80::1%25lo]:1234")),
    ("value-long", delegates("a." * 140 + "{d}:1234")),
    ("last-wins", page('{"m.server":"{d}:1234","m.server":5}')),
    ("garbage-behind", page('{"m.server":"{d}:1234"}x')),
    ("two-documents", page('{"m.server":"{d}:1234"}{"m.server":"{d}:1234"}')),
    ("comment", page('{"m.server":"{d}:1234" /* here */}')),
    ("comma", page('{"m.server":"{d}:1234",}')),
    ("single-quotes", page("{'m.server':'{d}:1234'}")),
    ("bare-key", page('{m.server:"{d}:1234"}')),
    ("raw-control", page(b'{"m.server":"x.example.net:1234","x":"\x01"}')),
    ("bad-number", page('{"x":01,"m.server":"{d}:1234"}')),
    ("bom", page(b'\xef\xbb\xbf{"m.server":"x.example.net:1234"}')),
    ("bad-utf8", page(b'{"m.server":"x.example.net:1234","x":"\xff"}')),
    ("utf16", page('{"m.server":"x.example.net:1234"}'.encode("utf-16"))),
    ("deep", page("[" * 30000 + "]" * 20000)),
    ("too-large", sized(51201)),
    ("much-too-large", sized(3000000)),
]

STATUS = [201, 202, 204, 206, 300, 304, 305, 400, 401, 403, 404, 410, 418, 421, 429, 500, 502, 503, 504, 599]

DOCUMENTS = [Case("doc-" + label, rule, delegated(), page=make, zone=(D_ADDRESS,), asked=ASK_DELEGATED)
             for label, rule, make in VALID]
DOCUMENTS += [Case("bad-" + label, "an invalid document: step 4", OWN, page=make, zone=(D_ADDRESS,), asked=ASK_OWN)
              for label, make in INVALID]
DOCUMENTS += [Case(f"status-{status}", "not 200: step 4, whatever the body says", OWN, page=delegates(status=status),
                   zone=(D_ADDRESS,), asked=ASK_OWN) for status in STATUS]
DOCUMENTS += [Case("bad-then-srv", "an invalid document: step 4 with its records", AT_TARGET, page=page("{"),
                   zone=(N_FED, T_ADDRESS), asked=ASK_WELL_KNOWN + (f"srv {FED}{{n}}", "addr {t}"))]

# ---- redirects (RFC 9110, 10.2.2 and 15.4) ----

R_ADDRESS = ("{r}", "A", "{web}")
AT_R = (("{r}", "/there", delegates()),)
ASK_R = ASK_WELL_KNOWN + ("addr {r}", "sni {r}", "get {r} /there", "addr {d}")
SAME = f"get {{n}} {WELL_KNOWN}"


def followed(label, rule, location, host, path, status=302):
    """By a redirect within one host or to another port of it."""
    return Case("redirect-" + label, rule, delegated(), page=redirect(location, status), zone=(D_ADDRESS,),
                pages=((host, path, delegates()),))


def chain(length):
    """As many redirects, the first from the well-known path."""
    pages = [("{n}", f"/{i}", redirect(f"/{i + 1}")) for i in range(1, length)]
    return tuple(pages + [("{n}", f"/{length}", delegates())])


REDIRECTS = [Case(f"redirect-{status}", "30x is followed; name and certificate are the new host's", delegated(),
                  page=redirect("https://{r}/there", status), pages=AT_R, zone=(R_ADDRESS, D_ADDRESS), asked=ASK_R)
             for status in (301, 302, 303, 307, 308)]
REDIRECTS += [
    followed("path", "a path of the same host", "/x/y?z=1", "{n}", "/x/y?z=1"),
    followed("sibling", "relative to the directory", "other.json", "{n}", "/.well-known/matrix/other.json"),
    followed("dots", "RFC 3986, 5.2.4", "../../a/./b/../c", "{n}", "/a/c"),
    followed("query", "the same path, another query", "?v=2", "{n}", WELL_KNOWN + "?v=2"),
    followed("fragment", "a fragment is not sent", "/f#part", "{n}", "/f"),
    followed("scheme-case", "schemes have no case", "HTTPS://{n}/s", "{n}", "/s"),
    followed("default-port", "443 is not written into Host", "https://{n}:443/p", "{n}", "/p"),
    followed("empty-port", "RFC 3986, 3.2.3", "https://{n}:/p", "{n}", "/p"),
    followed("port", "another port goes into Host", f"https://{{n}}:{OTHER_PORT}/p", f"{{n}}:{OTHER_PORT}", "/p"),
    followed("no-path", "a path is never empty", "https://{n}", "{n}", "/"),
    followed("host-case", "hosts have no case", "https://{N}/p", "{n}", "/p"),
    followed("percent", "percent-encoding is left alone", "/%7Ea%2fb", "{n}", "/%7Ea%2fb"),
    Case("redirect-no-scheme", "RFC 3986, 4.2: //host", delegated(), page=redirect("//{r}/there"), pages=AT_R,
         zone=(R_ADDRESS, D_ADDRESS), asked=ASK_R),
    Case("redirect-ip", "to an address: no SNI, the certificate has the address", delegated(),
         page=redirect("https://{web}/redirect-ip.json"), pages=(("{web}", "/redirect-ip.json", delegates()),),
         zone=(D_ADDRESS,), asked=ASK_WELL_KNOWN + ("get {web} /redirect-ip.json", "addr {d}")),
    Case("redirect-ip-name", "a certificate without that address is none for it", OWN,
         page=redirect(f"https://{{net}}.{WEB_BY_ADDRESS}/redirect-ip-name.json"),
         pages=((f"{{net}}.{WEB_BY_ADDRESS}", "/redirect-ip-name.json", delegates()),), zone=(D_ADDRESS,),
         asked=ASK_OWN),
    Case("redirect-ip6", "to an IPv6 address, with a port", delegated(),
         page=redirect(f"https://[::1]:{OTHER_PORT}/redirect-ip6.json"),
         pages=((f"[::1]:{OTHER_PORT}", "/redirect-ip6.json", delegates()),), zone=(D_ADDRESS,)),
    Case("redirect-5", "a few in a row", delegated(), page=redirect("/1"), pages=chain(5), zone=(D_ADDRESS,)),
    Case("redirect-40", "too many are as bad as loops", OWN, page=redirect("/1"), pages=chain(40), zone=(D_ADDRESS,)),
    Case("redirect-self", "loops are avoided", OWN, page=redirect("https://{n}" + WELL_KNOWN), asked=ASK_OWN),
    Case("redirect-loop", "loops are avoided", OWN, page=redirect("/a"),
         pages=(("{n}", "/a", redirect("/b")), ("{n}", "/b", redirect(WELL_KNOWN)))),
    Case("redirect-404", "the last answer counts", OWN, page=redirect("https://{r}/gone"), zone=(R_ADDRESS,),
         asked=ASK_WELL_KNOWN + ("addr {r}", "sni {r}", "get {r} /gone") + ASK_SRV + ("addr {n}",)),
    Case("redirect-nowhere", "a host that does not exist", OWN, page=redirect("https://{r}/there"),
         asked=ASK_WELL_KNOWN + ("addr {r}",) + ASK_SRV + ("addr {n}",)),
    Case("redirect-bad-tls", "the new host needs a certificate too", OWN,
         page=redirect("https://tls-wrong-name.example.org/r"), zone=(D_ADDRESS,),
         pages=(("tls-wrong-name.example.org", "/r", delegates()),)),
    Case("redirect-private", "never into a network that is not allowed", OWN, page=redirect("https://10.1.2.3/x"),
         asked=ASK_OWN),
    Case("redirect-private-name", "the same by name", OWN, page=redirect("https://{r}/there"), pages=AT_R,
         zone=(("{r}", "A", "10.1.2.3"), ("{r}", "A", "{web}"), D_ADDRESS),
         asked=ASK_WELL_KNOWN + ("addr {r}",) + ASK_SRV + ("addr {n}",)),
    Case("redirect-two-locations", "two Locations are none", OWN,
         page=page("", 302, (("Location", "/a"), ("Location", "/b"))), pages=(("{n}", "/a", delegates()),), asked=ASK_OWN),
]
REDIRECTS += [Case("redirect-to-" + label, "https and a host, or it is not followed: step 4", OWN,
                   page=redirect(location) if location is not None else page(server(), 302),
                   pages=(("{n}", "/there", delegates()), ("{n}", WELL_KNOWN + "/", delegates())),
                   zone=(D_ADDRESS,), asked=ASK_OWN)
              for label, location in [
                  ("none", None), ("http", "http://{n}/there"), ("ftp", "ftp://{n}/there"), ("nothing", ""),
                  ("data", "data:application/json,%7B%22m.server%22%3A%22x.example.net%22%7D"),
                  ("file", "file:///etc/passwd"), ("user", "https://me@{n}/there"), ("user-ip", "https://{n}@127.0.0.1/"),
                  ("no-host", "https:///there"), ("blank", "https://{n}/the re"), ("backslash", "https:\\\\{n}\\there"),
                  ("port-0", "https://{n}:0/there"), ("port-65536", "https://{n}:65536/there"),
                  ("unicode", "https://{n}/thäre"), ("short-ip", "https://127.1/there"), ("number-ip", "https://2130706433/there"),
                  ("long", "https://{n}/" + "a" * 3000), ("underscore", "https://_x.{n}/there")]]

# ---- TLS (RFC 9525: only subjectAltName, wildcards for one whole label) ----

TLS = [Case("tls-" + label, rule, OWN, page=delegates(), zone=(D_ADDRESS,),
            asked=("addr {n}", "sni {n}") + ASK_SRV + ("addr {n}",))
       for label, rule in [
           ("wrong-name", "a certificate for another name"), ("expired", "expired"), ("future", "not valid yet"),
           ("cn-only", "a common name is no name"), ("unknown", "an authority nobody knows"), ("self", "self-signed"),
           ("address", "an address is no name"), ("partial", "a wildcard is a whole label"),
           ("top", "a wildcard is one label"), ("no-chain", "an authority in between that is not sent along")]]
TLS += [Case("tls-" + label, rule, delegated(), page=delegates(), zone=(D_ADDRESS,), asked=ASK_DELEGATED)
        for label, rule in [("exact", "one of several names"), ("upper", "names have no case"),
                            ("wildcard", "a wildcard for one label"), ("chain", "an authority in between")]]
TLS += [
    Case("tls-deep", "a wildcard does not cover two labels", to("{web}:8448", host="a.{n}", tls="a.{n}"), "a.{n}",
         zone=(("a.{n}", "A", "{web}"), D_ADDRESS), pages=(("a.{n}", WELL_KNOWN, delegates()),)),
    Case("tls-12", "TLS 1.2", delegated(), where=TLS12, page=delegates(), zone=(D_ADDRESS,)),
    Case("tls-rsa", "an RSA certificate", delegated(), where=RSA, page=delegates(), zone=(D_ADDRESS,)),
    Case("tls-11", "TLS 1.1 is no longer TLS", to(f"{{net}}.{OLD_TLS}:8448"), where=OLD_TLS, page=delegates(),
         zone=(D_ADDRESS,)),
    Case("tls-not", "plain HTTP on port 443", to(f"{{net}}.{PLAIN}:8448"), where=PLAIN),
    Case("tls-reset", "a connection that is reset", to(f"{{net}}.{RESETS}:8448"), where=RESETS),
    Case("tls-cut", "the end in the middle of a record", to(f"{{net}}.{CUTS}:8448"), where=CUTS),
    Case("tls-silent", "somebody who says nothing", to(f"{{net}}.{SILENT}:8448"), where=SILENT),
    Case("tls-nobody", "nobody listens", to(f"{{net}}.{NOBODY}:8448"), where=NOBODY),
    Case("tls-second", "one of two addresses is dead", delegated(), page=delegates(), where=None,
         zone=(D_ADDRESS, ("{n}", "A", f"{{net}}.{NOBODY}"), ("{n}", "A", "{web}"))),
    Case("tls-fussy", "P-384 alone, and a wish for a client certificate", delegated(), where=FUSSY, page=delegates(),
         zone=(D_ADDRESS,)),
    Case("tls-second-silent", "one of two addresses says nothing", delegated(), page=delegates(), where=None,
         zone=(D_ADDRESS, ("{n}", "A", f"{{net}}.{SILENT}"), ("{n}", "A", "{web}"))),
    Case("tls-second-wrong", "one of two addresses has a wrong certificate", delegated(), page=delegates(), where=None,
         zone=(D_ADDRESS, ("{n}", "A", f"{{net}}.{WRONG}"), ("{n}", "A", "{web}"))),
    Case("tls-dead-ipv6", "one of two families is dead", delegated(), page=delegates(),
         zone=(D_ADDRESS, ("{n}", "AAAA", "fd50::50"))),
]

# ---- HTTP (RFC 9112) ----

LENGTH = "Content-Length: {len}"
READABLE = [
    ("chunked", "7.1", raw(http("HTTP/1.1 200 OK\nTransfer-Encoding: chunked",
                                '7\r\n{"m.ser\r\n6;x="y"\r\nver":"\r\n{chunk}\r\n2\r\n"}\r\n0\r\nX: y\r\n\r\n'))),
    ("1.0", "HTTP/1.0, ended by the connection", raw(http("HTTP/1.0 200 OK\nServer: simple", server()))),
    ("1.0-bare", "the same by a server that ends the connection without ending TLS: the document shows that it is whole",
     raw(http("HTTP/1.0 200 OK\nServer: simple", server()), bare_end)),
    ("1.0-length", "HTTP/1.0 with a length", raw(http("HTTP/1.0 200 OK\nContent-Length: {len}", server()), bare_end)),
    ("to-the-end", "6.3: without a length until the end", raw(http("HTTP/1.1 200 OK\nConnection: close", server()))),
    ("to-the-end-bare", "the same without ending TLS", raw(http("HTTP/1.1 200 OK\nConnection: close", server()), bare_end)),
    ("no-reason", "4: an empty reason", raw(http("HTTP/1.1 200 \nContent-Length: {len}", server()))),
    ("field-blanks", "5: optional white space", raw(http("HTTP/1.1 200 OK\ncontent-LENGTH: \t {len} \t\nX-Empty:", server()))),
    ("100", "RFC 9110, 15.2: interim answers", raw(http("HTTP/1.1 100 Continue\n\nHTTP/1.1 103 Early Hints\nLink: </x>\n\n"
                                                       "HTTP/1.1 200 OK\nContent-Length: {len}", server()))),
    ("slow", "slow, but it arrives", slow_but_sure),
    ("late", "it takes its time", late(2)),
    ("many-fields", "60 fields", page(server(), fields=tuple((f"X-{i}", "a" * 50) for i in range(60)))),
    ("long-field", "a field of 4,000 bytes", page(server(), fields=(("Content-Security-Policy", "a" * 4000),))),
    ("keep-alive", "more may follow on the connection", raw(http("HTTP/1.1 200 OK\nContent-Length: {len}", server()),
                                                         lambda exchange: time.sleep(1))),
]
UNREADABLE = [
    ("gzip", page(b"\x1f\x8b\x08\0\0\0\0\0\0\3", fields=(("Content-Encoding", "gzip"),))),
    ("cut-body", raw(http("HTTP/1.1 200 OK\nContent-Length: 500", server()))),
    ("cut-chunked", raw(http("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", '3\r\n{"m'))),
    ("cut-last-chunk", raw(http("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", "2\r\n{}\r\n"))),
    ("cut-head", raw("HTTP/1.1 200 OK\r\nContent-Le")),
    ("nothing", raw("")),
    ("reset", drop),
    ("bad-chunk", raw(http("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", "zz\r\n" + server() + "\r\n0\r\n\r\n"))),
    ("two-lengths", raw(http("HTTP/1.1 200 OK\nContent-Length: {len}\nContent-Length: 2", server()))),
    ("bad-length", raw(http("HTTP/1.1 200 OK\nContent-Length: -1", server()))),
    ("coding", raw(http("HTTP/1.1 200 OK\nTransfer-Encoding: gzip", server()))),
    ("no-http", raw("SSH-2.0-OpenSSH_9.2\r\n\r\n")),
    ("http-09", raw(server())),
    ("http-2", raw(http("HTTP/2 200 OK\nContent-Length: {len}", server()))),
    ("bad-status", raw(http("HTTP/1.1 20x OK\nContent-Length: {len}", server()))),
    ("switch", raw(http("HTTP/1.1 101 Switching Protocols\nUpgrade: x", server()))),
    ("bad-field", raw(http("HTTP/1.1 200 OK\nContent-Length : {len}\nno colon", server()))),
    ("huge-head", page(server(), fields=(("X-Huge", "a" * 100000),))),
    ("endless-head", endless(b"X: " + b"a" * 4000 + b"\r\n")),
    ("endless-100", endless(b"HTTP/1.1 100 Continue\r\n\r\n")),
    ("endless-body", raw(http("HTTP/1.1 200 OK", " " * 100), lambda exchange: endless(b" " * 16000)({})(exchange))),
    ("drip", too_slow),
]


def with_lengths(make):
    """{len} and {chunk}, which the words decide."""
    def filled(words):
        body = fill(server(), words)
        host = fill("{d}:1234", words)
        return make({**words, "len": str(len(body)), "chunk": f"{len(host):x}\r\n{host}"})
    return filled


HTTP = [Case("http-" + label.replace(".", "-"), rule, delegated(), page=with_lengths(make), zone=(D_ADDRESS,),
             asked=ASK_DELEGATED) for label, rule, make in READABLE]
HTTP += [Case("http-bad-" + label, "no answer, or no HTTP: step 4", OWN, page=with_lengths(make), zone=(D_ADDRESS,),
              asked=ASK_OWN) for label, make in UNREADABLE]

# ---- how long it holds (RFC 9111; 24 h without fields, never more than 48 h) ----


def control(value):
    return ("Cache-Control", value)


def date(seconds):
    """From when it is served: the table may have been made a while ago."""
    return lambda: formatdate(time.time() + seconds, usegmt=True)


LIVES = [
    ("default", (), (0.9 * DAY - 20, 1.1 * DAY)),
    ("other", (control("public, must-revalidate"),), (0.9 * DAY - 20, 1.1 * DAY)),
    ("max-age", (control("max-age=3600"),), (HOUR - 20, HOUR)),
    ("list", (control("public , max-age=3600,immutable"),), (HOUR - 20, HOUR)),
    ("two-fields", (control("public"), control("max-age=3600")), (HOUR - 20, HOUR)),
    ("upper", (control("MAX-AGE=3600"),), (HOUR - 20, HOUR)),
    ("quoted", (control('max-age="3600"'),), (HOUR - 20, HOUR)),
    ("in-a-string", (control('x="a, max-age=3600"'),), (0.9 * DAY - 20, 1.1 * DAY)),
    ("short", (control("max-age=10"),), (280, 300)),
    ("zero", (control("max-age=0"),), (280, 300)),
    ("no-store", (control("no-store"),), (280, 300)),
    ("no-store-max-age", (control("no-store, max-age=3600"),), (280, 300)),
    ("no-cache", (control("no-cache"),), (280, 300)),
    ("no-cache-max-age", (control("max-age=3600, no-cache"),), (280, 300)),
    ("long", (control("max-age=31536000"),), (2 * DAY - 20, 2 * DAY)),
    ("overflow", (control("max-age=99999999999999999999999"),), (2 * DAY - 20, 2 * DAY)),
    ("not-a-number", (control("max-age=soon"),), (0.9 * DAY - 20, 1.1 * DAY)),
    ("age", (control("max-age=7200"), ("Age", "3600")), (HOUR - 20, HOUR)),
    ("age-over", (control("max-age=7200"), ("Age", "9000")), (280, 300)),
    ("expires", (("Date", date(0)), ("Expires", date(HOUR))), (HOUR - 120, HOUR + 60)),
    ("expires-no-date", (("Expires", date(HOUR)),), (HOUR - 120, HOUR + 60)),
    ("expires-past", (("Date", date(0)), ("Expires", date(-HOUR))), (280, 300)),
    ("expires-0", (("Expires", "0"),), (280, 300)),
    ("expires-later", (control("max-age=3600"), ("Expires", date(DAY))), (HOUR - 20, HOUR)),
    ("expires-far", (("Date", date(0)), ("Expires", date(90 * DAY))), (2 * DAY - 20, 2 * DAY)),
]
AT_IP = to("{net}.90:8448", host="{net}.90", tls="{net}.90")

LIFE = [Case("life-" + label, "cache fields", AT_IP, page=cached(*fields), expires=(int(limits[0]), int(limits[1])))
        for label, fields, limits in LIVES]
LIFE += [
    Case("life-404", "errors up to an hour, records by their own", OWN, where=None, zone=(("{n}", "A", "{web}", DAY),),
         expires=(300, 3960)),
    Case("life-record", "2: the life of the addresses", to("{web}:1234", host="{n}:1234"), "{n}:1234", where=None,
         zone=(("{n}", "A", "{web}", 7200),), expires=(7180, 7200)),
    Case("life-srv", "the shortest of all", to("{net}.91:7000", host="{d}", tls="{d}"), page=delegates("{d}"),
         zone=((FED + "{d}", "SRV", (1, 1, 7000, "{t}"), 700), T_ADDRESS), expires=(680, 700)),
    Case("life-alias", "the shortest of a chain", to("{net}.91:1234", host="{n}:1234"), "{n}:1234", where=None,
         zone=(("{n}", "CNAME", "{t}", 500), T_ADDRESS), expires=(480, 500)),
    Case("life-ttl-0", "a floor, so that nobody is asked all the time", to("{web}:1234", host="{n}:1234"), "{n}:1234",
         where=None, zone=(("{n}", "A", "{web}", 0),), expires=(1, 60)),
]

# ---- service records (RFC 2782) ----


def srv(*records, prefix=FED, ttl=DAY):
    return tuple((prefix + "{n}", "SRV", record, ttl) for record in records)


def targets(*numbers):
    return tuple((f"t{number}.{{t}}", "A", f"{{net}}.{number}") for number in numbers)


SERVICES = [
    Case("srv-priority", "lowest priority first", to("{net}.101:7001", "{net}.102:7002", "{net}.103:7003"),
         zone=srv((30, 0, 7003, "t103.{t}"), (10, 0, 7001, "t101.{t}"), (20, 9, 7002, "t102.{t}")) + targets(101, 102, 103)),
    Case("srv-weight", "one priority: any order", to("{net}.101:7001", "{net}.102:7002", any_order=True),
         zone=srv((1, 60, 7001, "t101.{t}"), (1, 40, 7002, "t102.{t}")) + targets(101, 102)),
    Case("srv-weight-0", "weight 0 is a weight", to("{net}.101:7001", "{net}.102:7002", any_order=True),
         zone=srv((1, 0, 7001, "t101.{t}"), (1, 0, 7002, "t102.{t}")) + targets(101, 102)),
    Case("srv-one-target", "one target with two ports", to("{net}.101:7001", "{net}.101:7002"),
         zone=srv((1, 0, 7001, "t101.{t}"), (2, 0, 7002, "t101.{t}")) + targets(101)),
    Case("srv-both-families", "all addresses of a target", to("{net}.101:7001", "[fd50::101]:7001", any_order=True),
         zone=srv((1, 0, 7001, "t101.{t}")) + targets(101) + (("t101.{t}", "AAAA", "fd50::101"),)),
    Case("srv-ipv6", "AAAA alone", to("[fd50::101]:7001"),
         zone=srv((1, 0, 7001, "t101.{t}")) + (("t101.{t}", "AAAA", "fd50::101"),)),
    Case("srv-root", "a target of . says: not offered here", fails("service-absent"), zone=srv((0, 0, 0, ".")) + (N_OLD, T_ADDRESS),
         asked=ASK_WELL_KNOWN + (f"srv {FED}{{n}}",)),
    Case("srv-root-old", "the same", fails("service-absent"), zone=srv((0, 0, 0, "."), prefix=OLD),
         asked=ASK_WELL_KNOWN + ASK_SRV),
    Case("srv-root-beside", ". beside others means nothing", AT_TARGET, zone=srv((0, 0, 0, "."), (10, 0, 7000, "{t}")) + (T_ADDRESS,)),
    Case("srv-port-0", "no port is no place", AT_TARGET, zone=srv((0, 0, 0, "{t}"), (10, 0, 7000, "{t}")) + (T_ADDRESS,)),
    Case("srv-port-0-only", "records that cannot be used are still records", fails("no-record", "blocked"),
         zone=srv((0, 0, 0, "{t}")) + (T_ADDRESS,)),
    Case("srv-alias", "the record's own name may be an alias", AT_TARGET,
         zone=((FED + "{n}", "CNAME", "alias.{t}"), ("alias.{t}", "SRV", (1, 1, 7000, "{t}")), T_ADDRESS)),
    Case("srv-nowhere", "a dead target: neither the old record nor port 8448", fails("no-record"),
         zone=srv((1, 1, 7000, "none.{t}")) + (N_OLD, T_ADDRESS),
         asked=ASK_WELL_KNOWN + (f"srv {FED}{{n}}", "addr none.{t}")),
    Case("srv-one-nowhere", "the next target", AT_TARGET, zone=srv((1, 1, 7000, "none.{t}"), (2, 1, 7000, "{t}")) + (T_ADDRESS,)),
    Case("srv-one-servfail", "the next target", AT_TARGET, zone=srv((1, 1, 7000, "t101.{t}"), (2, 1, 7000, "{t}")) + (T_ADDRESS,),
         odd=(("t101.{t}", "servfail"),)),
    Case("srv-servfail-target", "its only target cannot be looked up", fails("dns-failure", "timed-out"), zone=srv((1, 1, 7000, "{t}")),
         odd=(("{t}", "servfail"),)),
    Case("srv-private", "into a network that is not allowed", fails("blocked"), zone=(N_FED, ("{t}", "A", "10.1.2.3"))),
    Case("srv-private-first", "the next target", AT_TARGET,
         zone=srv((1, 1, 7000, "t101.{t}"), (2, 1, 7000, "{t}")) + (("t101.{t}", "A", "10.1.2.3"), T_ADDRESS)),
    Case("srv-case", "case of names in DNS", AT_TARGET, zone=srv((1, 1, 7000, "{T}")) + (T_ADDRESS,)),
    Case("srv-443", "any port", to("{net}.91:443"), zone=srv((1, 1, 443, "{t}")) + (T_ADDRESS,)),
    Case("srv-itself", "the name itself as target", to("{web}:443"), zone=srv((1, 1, 443, "{n}"))),
    Case("srv-compressed", "names in the answer as pointers", AT_TARGET, zone=(N_FED, T_ADDRESS), odd=((FED + "{n}", "compressed"),)),
    Case("srv-nodata", "a name without this type: step 5", AT_TARGET, zone=((FED + "{n}", "A", "127.0.0.1"), N_OLD, T_ADDRESS),
         asked=ASK_WELL_KNOWN + ASK_SRV + ("addr {t}",)),
    Case("srv-nodata-both", "step 6", OWN, zone=((FED + "{n}", "A", "127.0.0.1"), (OLD + "{n}", "A", "127.0.0.1")), asked=ASK_OWN),
    Case("srv-no-soa", "absence without an SOA record is absence", OWN, odd=((FED + "{n}", "no-soa"), (OLD + "{n}", "nxdomain-no-soa")),
         asked=ASK_OWN),
    Case("srv-tcp", "20 records come by TCP", AT_TARGET, zone=srv((0, 0, 7000, "{t}"), *[(9, 0, 7000, f"{'x' * 60}{i}.{{t}}") for i in range(19)])
         + (T_ADDRESS,)),
    Case("srv-truncated", "truncated, then by TCP", AT_TARGET, zone=(N_FED, T_ADDRESS), odd=((FED + "{n}", "truncate"),)),
    Case("srv-truncated-part", "a part is not the answer", to("{net}.101:7001", "{net}.102:7002"),
         zone=srv((2, 0, 7002, "t102.{t}"), (1, 0, 7001, "t101.{t}")) + targets(101, 102), odd=((FED + "{n}", "truncated-part"),)),
    Case("srv-lost", "a packet is lost", AT_TARGET, zone=(N_FED, T_ADDRESS), odd=((FED + "{n}", "first-lost"),)),
    Case("srv-no-edns", "a server older than EDNS", AT_TARGET, zone=(N_FED, T_ADDRESS), odd=((FED + "{n}", "no-edns"),)),
    Case("srv-shouting", "a server that writes in upper case", AT_TARGET, zone=(N_FED, T_ADDRESS), odd=((FED + "{n}", "shouting"),)),
    Case("srv-alias-only", "an alias to be followed by the asker", AT_TARGET,
         zone=((FED + "{n}", "CNAME", "alias.{t}"), ("alias.{t}", "SRV", (1, 1, 7000, "{t}")), T_ADDRESS), odd=((FED + "{n}", "alias-only"),)),
    Case("srv-stranger", "a record nobody asked for is no answer", OWN, zone=(N_FED, T_ADDRESS), odd=((FED + "{n}", "stranger"),)),
]

# a question that failed says nothing: it is not absence, and nothing after it may be tried
BROKEN = ["servfail", "refused", "timeout", "garbage", "formerr", "notimp", "referral", "wrong-question", "cut", "long-record",
          "tcp-broken", "pointer-loop"]
UNKNOWN = fails("dns-failure", "timed-out")
SERVICES += [Case("fed-" + how, "a failed SRV question is not absence (step 4)", UNKNOWN, zone=(N_FED, N_OLD, T_ADDRESS),
                  odd=((FED + "{n}", how),), asked=ASK_WELL_KNOWN + (f"srv {FED}{{n}}",)) for how in BROKEN]
SERVICES += [Case("old-" + how, "a failed SRV question is not absence (step 5)", UNKNOWN, zone=(N_OLD, T_ADDRESS),
                  odd=((OLD + "{n}", how),), asked=ASK_WELL_KNOWN + ASK_SRV) for how in ("servfail", "refused", "timeout", "garbage")]
SERVICES += [Case(f"wk-{prefix}-{how}", "a failed SRV question is not absence (steps 3.3, 3.4)", UNKNOWN, page=delegates("{d}"),
                  zone=(D_ADDRESS, N_FED, T_ADDRESS), odd=((f"_{prefix}._tcp.{{d}}", how),),
                  asked=ASK_WELL_KNOWN + (f"srv {FED}{{d}}", f"srv {OLD}{{d}}")[:1 if prefix == "matrix-fed" else 2])
             for prefix in ("matrix-fed", "matrix") for how in ("servfail", "timeout")]

# ---- addresses ----

PORT = "{n}:1234"


def at(*addresses, any_order=True):
    return to(*[f"{address}:1234" for address in addresses], host=PORT, any_order=any_order)


def addressed(label, rule, expect, *zone, **options):
    return Case("addr-" + label, rule, expect, PORT, where=None, zone=zone, **options)


ADDRESSES = [
    addressed("a", "A alone", at("127.1.2.3"), ("{n}", "A", "127.1.2.3")),
    addressed("aaaa", "AAAA alone", at("[fd50::3]"), ("{n}", "AAAA", "fd50::3")),
    addressed("both", "both families", at("127.1.2.3", "[fd50::3]"), ("{n}", "A", "127.1.2.3"), ("{n}", "AAAA", "fd50::3")),
    addressed("several", "all of them", at("127.1.2.3", "127.1.2.4", "127.1.2.5"), *[("{n}", "A", f"127.1.2.{i}") for i in (3, 4, 5)]),
    addressed("alias", "CNAME", at("127.1.2.3"), ("{n}", "CNAME", "{t}"), ("{t}", "A", "127.1.2.3")),
    addressed("alias-chain", "CNAME of CNAME", at("127.1.2.3"), ("{n}", "CNAME", "a.{t}"), ("a.{t}", "CNAME", "b.{t}"),
              ("b.{t}", "CNAME", "c.{t}"), ("c.{t}", "A", "127.1.2.3")),
    addressed("alias-dead", "an alias of nothing", fails("no-record"), ("{n}", "CNAME", "none.{t}")),
    addressed("alias-loop", "aliases that go in circles", fails("dns-failure", "no-record"), ("{n}", "CNAME", "{t}"), ("{t}", "CNAME", "{n}")),
    addressed("alias-self", "an alias of itself", fails("dns-failure", "no-record"), ("{n}", "CNAME", "{n}")),
    addressed("alias-only", "an alias to be followed by the asker", at("127.1.2.3"), ("{n}", "CNAME", "a.{t}"), ("a.{t}", "CNAME", "b.{t}"),
              ("b.{t}", "A", "127.1.2.3"), odd=(("{n}", "alias-only"), ("a.{t}", "alias-only"))),
    addressed("alias-only-loop", "the same in circles", fails("dns-failure", "no-record"), ("{n}", "CNAME", "{t}"), ("{t}", "CNAME", "{n}"),
              odd=(("{n}", "alias-only"), ("{t}", "alias-only"))),
    addressed("alias-only-servfail", "the alias leads to a failure", UNKNOWN, ("{n}", "CNAME", "{t}"),
              odd=(("{n}", "alias-only"), ("{t}", "servfail"))),
    addressed("none", "the name exists, addresses do not", fails("no-record"), ("{n}", "SRV", (1, 1, 1, "{t}"))),
    addressed("nxdomain", "the name does not exist", fails("no-record")),
    addressed("half-nxdomain", "one type answers as if there was no name", at("127.1.2.3"), ("{n}", "A", "127.1.2.3"),
              odd=(("{n}", "nxdomain", "AAAA"),)),
    addressed("half-servfail", "one type fails", at("127.1.2.3"), ("{n}", "A", "127.1.2.3"), odd=(("{n}", "servfail", "AAAA"),)),
    addressed("half-notimp", "one type is unknown to the server", at("127.1.2.3"), ("{n}", "A", "127.1.2.3"), odd=(("{n}", "notimp", "AAAA"),)),
    addressed("half-timeout", "one type is not answered", at("[fd50::3]"), ("{n}", "AAAA", "fd50::3"), odd=(("{n}", "timeout", "A"),)),
    addressed("half-absent", "one absent, the other unknown", UNKNOWN, ("{n}", "SRV", (1, 1, 1, "{t}")), odd=(("{n}", "servfail", "AAAA"),)),
    addressed("truncated", "truncated, then by TCP", at("127.1.2.3"), ("{n}", "A", "127.1.2.3"), odd=(("{n}", "truncate"),)),
    addressed("private", "a network that is not allowed", fails("blocked"), ("{n}", "A", "10.1.2.3")),
    addressed("mixed", "one address that is not allowed spoils all", fails("blocked"), ("{n}", "A", "127.1.2.3"), ("{n}", "A", "10.1.2.3")),
    addressed("mixed-families", "the same across families", fails("blocked"), ("{n}", "A", "127.1.2.3"), ("{n}", "AAAA", "fc00::1")),
    addressed("link-local", "RFC 6890", fails("blocked"), ("{n}", "A", "169.254.169.254")),
    addressed("mapped", "IPv4 in IPv6's clothes", fails("blocked"), ("{n}", "AAAA", "::ffff:10.1.2.3")),
    addressed("unspecified", "0.0.0.0 is this machine", fails("blocked"), ("{n}", "A", "0.0.0.0")),
    addressed("public", "elsewhere", at("8.8.4.4", "[2606:4700::1111]"), ("{n}", "A", "8.8.4.4"), ("{n}", "AAAA", "2606:4700::1111")),
    addressed("compressed", "owners as pointers", at("127.1.2.3"), ("{n}", "A", "127.1.2.3"), odd=(("{n}", "compressed"),)),
    addressed("shouting", "owners in upper case", at("127.1.2.3"), ("{n}", "A", "127.1.2.3"), odd=(("{n}", "shouting"),)),
    addressed("lost", "packets get lost", at("127.1.2.3"), ("{n}", "A", "127.1.2.3"), odd=(("{n}", "first-lost"),)),
    Case("wk-dns-servfail", "3: no answer to where the web server is: step 4", AT_TARGET, zone=(N_FED, T_ADDRESS),
         odd=(("{n}", "servfail"),), asked=("addr {n}", f"srv {FED}{{n}}", "addr {t}")),
    Case("wk-private", "3: the web server is where we may not go: step 4", AT_TARGET, where=None,
         zone=(("{n}", "A", "10.1.2.3"), N_FED, T_ADDRESS), asked=("addr {n}", f"srv {FED}{{n}}", "addr {t}")),
    Case("own-private", "6: so is the server", fails("blocked"), where=None, zone=(("{n}", "A", "10.1.2.3"),)),
    Case("own-alias", "3 and 6: an alias; Host and certificate stay", to("{web}:8448"), where=None,
         zone=(("{n}", "CNAME", "{t}"), ("{t}", "A", "{web}")), asked=ASK_OWN),
    Case("wk-alias", "3: web server behind an alias", delegated(), page=delegates(), where=None,
         zone=(("{n}", "CNAME", "{t}"), ("{t}", "A", "{web}"), D_ADDRESS), asked=ASK_DELEGATED),
    Case("wk-d-alias", "3.2: CNAME of the delegated name", to("{net}.91:1234", host="{d}:1234", tls="{d}"), page=delegates(),
         zone=(("{d}", "CNAME", "{t}"), T_ADDRESS)),
    Case("wk-d-servfail", "3.2: nothing is known", UNKNOWN, page=delegates(), odd=(("{d}", "servfail"),), zone=(N_FED, T_ADDRESS),
         asked=ASK_DELEGATED),
    Case("wk-d-private", "3.2: where we may not go", fails("blocked"), page=delegates(), zone=(("{d}", "A", "192.168.1.1"), N_FED, T_ADDRESS),
         asked=ASK_DELEGATED),
    Case("wk-ip-private", "3.1: where we may not go", fails("blocked"), page=delegates("192.168.1.1"), zone=(N_FED, T_ADDRESS),
         asked=ASK_WELL_KNOWN),
]

CASES = TABLE + DOCUMENTS + REDIRECTS + TLS + HTTP + LIFE + SERVICES + ADDRESSES
SLOW = ("drip", "timeout", "silent", "endless", "late", "lost", "tcp-broken", "wrong-question", "garbage")


# ---- playing them ----

def words_of(net, case):
    names = {"n": f"{case.label}.example.org", "d": f"{case.label}.example.net", "t": f"{case.label}.example.com",
             "r": f"{case.label}.r.example.org"}
    upper = {word.upper(): name.title() for word, name in names.items()}
    where = case.where if case.where is not None else WEB
    return {**names, **upper, "web": net.address(where), "net": net.network}


def lay_out(net, case, words):
    """The names, their failures and the pages of one case."""
    if case.where is not None:
        net.dns.add(words["n"], "A", net.address(case.where), DAY)
    for name, kind, value, *ttl in case.zone:
        value = (*value[:3], fill(value[3], words)) if kind == "SRV" else fill(value, words)
        net.dns.add(fill(name, words), kind, value, *ttl)
    for name, how, *kind in case.odd:
        net.dns.fail(fill(name, words), how, *kind)
    if case.page:
        net.pages[words["n"], WELL_KNOWN] = case.page(words)
    for host, path, make in case.pages:
        net.pages[fill(host, words), path] = make(words)


@pytest.fixture(scope="module")
def net():
    with Network() as network:
        yield network


@pytest.fixture(scope="module")
def runs(net, request):
    """{label: a run under way}: all that were chosen, a few at once, the slow ones first."""
    params = [item.callspec.params for item in request.session.items
              if item.module is request.module and hasattr(item, "callspec")]
    chosen = [some["case"] for some in params if "case" in some]
    chosen.sort(key=lambda case: not any(word in case.label for word in SLOW))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        yield {case.label: pool.submit(play, net, case) for case in chosen}


def play(net, case):
    words = words_of(net, case)
    lay_out(net, case, words)
    return net.resolve("--json", fill(case.name, words))


def check_expected(case, words, done, value):
    if isinstance(case.expect, Fails):
        assert done.returncode == 1
        assert value["error"] in case.expect.errors
        return
    assert (value["error"], done.returncode) == (None, 0)
    expected = [fill(address, words) for address in case.expect.addresses]
    got = value["addresses"]
    assert (sorted(got), sorted(expected)) == (sorted(expected), sorted(got)) if case.expect.any_order else got == expected
    assert value["host_header"] == fill(case.expect.host, words)
    assert value["tls_name"] == fill(case.expect.tls, words)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_case(net, runs, case):
    if case.label == "redirect-ip6" and not net.has_ipv6:
        pytest.skip("this machine has no ::1")
    words = words_of(net, case)
    done = runs[case.label].result()
    asked = net.events(case.label)
    try:
        value = document(done)
        check_expected(case, words, done, value)
        assert value["server_name"] == fill(case.name, words)
        if case.expires:
            assert case.expires[0] <= value["expires_in_s"] <= case.expires[1]
        if case.asked:
            assert asked == [fill(event, words) for event in case.asked]
        assert done.stderr == b""
    except AssertionError:
        print(case.rule, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"), *asked, sep="\n")
        raise


def test_requests_are_plain(net, runs):
    """GET, no body, nothing that is not HTTP: over all cases."""
    for run in runs.values():
        run.result()
    assert not net.faults
    assert not [fault for server in net.servers for fault in getattr(server, "faults", ())]


def test_many_services(net):
    """RFC 2782: of forty records the best come first, wherever they stand in the answer."""
    name = "forty.example.org"
    priorities = list(range(1, 41))
    random.Random(2).shuffle(priorities)
    for priority in priorities:
        net.dns.add(FED + name, "SRV", (priority, 0, 7000, f"t{priority}.{name}"))
        net.dns.add(f"t{priority}.{name}", "A", f"127.8.0.{priority}")
    got = document(net.resolve("--json", name))["addresses"]
    assert len(got) >= 4 and got == [f"127.8.0.{priority}:7000" for priority in range(1, len(got) + 1)]


def test_many_addresses(net):
    """All of a number that occurs."""
    for i in range(1, 9):
        net.dns.add("eight.example.org", "A", f"127.8.1.{i}")
    got = document(net.resolve("--json", "eight.example.org:1234"))["addresses"]
    assert sorted(got) == [f"127.8.1.{i}:1234" for i in range(1, 9)]


# ---- names that are addresses, names that are none (Appendices, "Server Name") ----

LITERALS = [
    ("127.1.2.3", "127.1.2.3:8448", "127.1.2.3"),
    ("127.1.2.3:1234", "127.1.2.3:1234", "127.1.2.3"),
    ("127.1.2.3:443", "127.1.2.3:443", "127.1.2.3"),
    ("127.1.2.3:65535", "127.1.2.3:65535", "127.1.2.3"),
    ("127.1.2.3:08448", "127.1.2.3:8448", "127.1.2.3"),
    ("8.8.4.4", "8.8.4.4:8448", "8.8.4.4"),
    ("[::1]", "[::1]:8448", "::1"),
    ("[::1]:1234", "[::1]:1234", "::1"),
    ("[fd50:0:0:0:0:0:0:1]", "[fd50::1]:8448", "fd50::1"),
    ("[FD50::A]:1025", "[fd50::a]:1025", "fd50::a"),
    ("[fd50::127.0.0.1]", "[fd50::7f00:1]:8448", "fd50::7f00:1"),
    ("[2606:4700::1111]", "[2606:4700::1111]:8448", "2606:4700::1111"),
]


@pytest.mark.parametrize("name, address, tls_name", LITERALS)
def test_address(net, name, address, tls_name):
    """1: nothing is looked up; Host is the name as written; the certificate has the address."""
    before = len(net.dns.queries)
    done = net.resolve("--json", name)
    value = document(done)
    assert (done.returncode, value["error"]) == (0, None)
    assert (value["addresses"], value["host_header"], value["tls_name"]) == ([address], name, tls_name)
    assert not [query for query in net.dns.queries[before:] if tls_name in query[1]]


BAD_NAMES = """
:8448 bad.example.org: bad.example.org:0 bad.example.org:00 bad.example.org:65536 bad.example.org:99999 bad.example.org:123456
bad.example.org:084480 bad.example.org:-1 bad.example.org:+1 bad.example.org:80a bad.example.org:0x50 bad.example.org:8448:8448
bad.example.org:https bad..example.org .bad.example.org .. . - _matrix.bad.example.org bad_.example.org
exämple.bad.example.org bad.example.org\u3002 user@bad.example.org @user:bad.example.org !room:bad.example.org #alias:bad.example.org
https://bad.example.org bad.example.org/ bad.example.org/.well-known bad.example.org?x bad.example.org#x //bad.example.org
bad.example.org\\ *.bad.example.org bad.%65xample.org bad.example.org,bad.example.net bad.example.org;x "bad.example.org" 'bad.example.org'
(bad.example.org) bad~.example.org bad+.example.org bad!.example.org bad$.example.org bad&.example.org bad=.example.org
::1 [::1 ::1] [::1]x [::1]: [::1]:0 [::1]:65536 [::1]:x [::1]8448 [::1%25lo] [fe80::1%lo] [] [:] [:::] [::1::] [1:2:3:4:5:6:7]
[1:2:3:4:5:6:7:8:9] [12345::] [g::1] [127.0.0.1] [bad.example.org] [[::1]] [::1.2.3] [::256.0.0.1] [::01.2.3.4]
256.1.1.1 1.2.3.256 999.999.999.999 1.2.3 1.2.3.4.5 127.1 1 0 2130706433 0x7f000001 0x7f.0.0.1 bad.0x7f bad.1 1.2.3.4:0 1.2.3.4: 1.2.3.4:65536
""".split() + [
    "", " ", "bad example.org", " bad.example.org", "bad.example.org ", "bad.example.org :8448", "bad.example.org: 8448",
    "bad.example.org\n", "bad.example.org\r\nX: y", "\tbad.example.org", "bad\x01.example.org", "bad\x7f.example.org",
    "bad.example.org:8448\n", "[::1] ", "[ ::1]", "1.2.3.4 ", "a" * 64 + ".bad.example.org", "bad." + "a." * 130 + "org",
    "a" * 300, "bad." + "a" * 5000, "a." * 20000 + "org", "1" * 300, "[" + ":" * 300 + "]", "bad.example.org:" + "0" * 300 + "1",
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: ascii(name[:40]))
def test_bad_name(net, name):
    """Exit 1 and a document that says so; nothing is asked."""
    done = net.resolve("--json", "--", name)
    value = document(done)
    assert done.returncode == 1 and done.stderr == b""
    assert value["error"] in ("bad-syntax", "out-of-range", "blocked")
    assert value["server_name"] == name or len(name) > 1000 and name.startswith(value["server_name"])
    assert not net.events("bad")


# ---- without allow_range: what a stranger's name must not lead to (RFC 6890) ----

REFUSED = """127.0.0.1 10.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 169.254.169.254 100.64.0.1 0.0.0.0 192.0.2.1 198.18.0.1
198.51.100.1 203.0.113.1 224.0.0.1 240.0.0.1 255.255.255.255 [::] [::1] [::127.0.0.1] [::ffff:127.0.0.1] [::ffff:8.8.4.4] [fe80::1]
[fc00::1] [fd12::1] [fec0::1] [ff02::1] [2001:db8::1] [2002:7f00:1::] [64:ff9b::127.0.0.1] [2001::1]""".split()


@pytest.fixture(scope="module")
def strict(net):
    return net.write("strict.conf", net.main(allow=()))


@pytest.mark.parametrize("name", REFUSED + [name + ":1234" for name in REFUSED[:3]])
def test_refused_address(net, strict, name):
    done = net.resolve("--json", name, config=strict)
    value = document(done)
    assert (done.returncode, value["error"]) == (1, "blocked")


@pytest.mark.parametrize("name", ["8.8.4.4", "172.15.255.255", "172.32.0.0", "[2606:4700::1111]", "[64:ff9b::8.8.4.4]"])
def test_public_address(net, strict, name):
    done = net.resolve("--json", name, config=strict)
    assert (done.returncode, document(done)["error"]) == (0, None)


def test_refused_by_name(net, strict):
    net.dns.add("inside.example.org", "A", "127.0.0.1")
    value = document(net.resolve("--json", "inside.example.org:1234", config=strict))
    assert value["error"] == "blocked"


LOCAL = ["localhost", "router", "nas.lan", "server.local", "box.internal", "x.home.arpa", "abc.onion", "a.localhost"]


@pytest.mark.parametrize("name", LOCAL)
def test_local_name(net, name):
    """RFC 6761, 6762, 8375: names of the own network are no names of servers, whatever addresses are allowed."""
    done = net.resolve("--json", name)
    assert (done.returncode, document(done)["error"]) == (1, "blocked")
    assert f"addr {name}" not in net.log


# ---- the verb ----

def test_everything_allowed(net):
    """Ranges without a single fixed bit."""
    config = net.write("open.conf", net.main(allow=("0.0.0.0/0", "::/0")))
    assert net.resolve("--json", "127.0.0.1", config=config).returncode == 0
    for name in ("10.0.0.1", "192.168.1.1:1234", "[::1]", "[fe80::1]", "[::ffff:10.0.0.1]", "0.0.0.0"):
        done = net.resolve("--json", name, config=config)
        assert (done.returncode, document(done)["error"]) == (0, None), name
    check = net.run("config", "check", config)
    assert check.returncode == 0, check.stdout + check.stderr


def test_alone_in_its_section(net):
    """No domain, no homeserver, no listener is needed; nor any option."""
    config = net.write("bare.conf", "config doorstep 'main'\n")
    done = net.resolve("--json", "8.8.4.4", config=config)
    assert (done.returncode, done.stderr) == (0, b"")


def test_lines(net):
    """Without --json: lines for people, the same exit codes."""
    done = net.resolve("127.1.2.3:1234")
    assert done.returncode == 0 and b"127.1.2.3:1234" in done.stdout and not done.stdout.startswith(b"{")
    done = net.resolve("bad..name")
    assert done.returncode == 1 and b"bad-syntax" in done.stdout
    done = net.resolve("lines.example.org\x1b[31m")
    assert done.returncode == 1 and b"\x1b" not in done.stdout


MISTAKES = [
    (), ("--json",), ("one.example.org", "two.example.org"), ("--jsn", "one.example.org"), ("-j", "one.example.org"),
    ("--json=yes", "one.example.org"), ("one.example.org", "--config"),
    ("--dns", "127.0.0.1:53", "one.example.org"), ("--json", "one.example.org", ""),
]


@pytest.mark.parametrize("args", MISTAKES, ids=" ".join)
def test_usage(net, args):
    done = net.resolve(*args, config=False)
    assert done.returncode == 2 and done.stdout == b""
    assert done.stderr.startswith(b"doorstep") and b"\n" in done.stderr


def test_help(net):
    done = net.resolve("--help", config=False)
    assert done.returncode == 0 and b"--config" in done.stdout and not done.stderr


@pytest.mark.parametrize("text, word", [
    (None, b"absent.conf"), ("config doorstep 'main'\n\toption dns '127.0.0.1:x'\n", b"dns"),
    ("config doorstep 'main'\n\toption ca_file '/nowhere/ca.pem'\n", b"/nowhere/ca.pem"),
    ("config doorstep 'main'\n\tlist allow_range '10.0.0.1/8'\n", b"10.0.0.1/8"), ("nonsense", b"conf:1"),
])
def test_bad_configuration(net, text, word):
    """One line that names the fault; exit 1."""
    config = net.path("absent.conf") if text is None else net.write("bad.conf", text)
    done = net.resolve("--json", "one.example.org", config=config)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert word in done.stderr


@pytest.mark.parametrize("name", ["offline.example.org", "offline.example.org:8448"])
def test_offline(net, name):
    """The system's resolver, and a network without anything in it: an error, no fallback, no guess."""
    done = net.resolve("--json", name, config=False, wrap=("unshare", "--net", "--"))
    value = document(done)
    assert done.returncode == 1 and value["error"] in ("dns-failure", "timed-out")


def test_offline_address(net):
    """What needs no network works without one."""
    done = net.resolve("--json", "8.8.4.4:1234", config=False, wrap=("unshare", "--net", "--"))
    assert (done.returncode, document(done)["addresses"]) == (0, ["8.8.4.4:1234"])


def test_without_authorities(net):
    """A system without certificate authorities: addresses resolve, .well-known cannot be judged."""
    hide = ("unshare", "--mount", "--", "sh", "-c", 'mount -t tmpfs none /etc/ssl && exec "$@"', "sh")
    done = net.resolve("--json", "8.8.4.4:1234", config=False, wrap=hide)
    assert (done.returncode, document(done)["addresses"]) == (0, ["8.8.4.4:1234"])
    bare = net.write("no-ca.conf", net.main(ca_file=None))
    done = net.resolve("--json", "no-ca.example.org", config=bare, wrap=hide)
    assert (done.returncode, document(done)["error"]) == (1, "bad-configuration")
    assert net.events("no-ca") == ["addr no-ca.example.org"] or not net.events("no-ca")


def test_authority_that_is_the_server(net):
    """ca_file with a server's own certificate, as people write it who have one server to trust."""
    config = net.write("self.conf", net.main(ca_file=net.path("tls-self.example.org.pem")))
    name = "tls-self.example.org"
    if name not in net.dns.records:
        net.dns.add(name, "A", net.address(WEB))
    net.pages[name, WELL_KNOWN] = delegates("127.1.2.3")({})
    done = net.resolve("--json", name, config=config)
    assert document(done)["addresses"] == ["127.1.2.3:8448"]


def test_answers_are_not_mixed(net):
    """Many at once: each says what its own names said."""
    names = [f"mixed-{i}.example.org" for i in range(20)]
    for i, name in enumerate(names):
        net.dns.add(name, "A", f"127.7.0.{i}", DAY)
    order = names * 2
    random.Random(1).shuffle(order)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda name: document(net.resolve("--json", name + ":1234")), order))
    assert [value["addresses"] for value in done] == [[f"127.7.0.{names.index(name)}:1234"] for name in order]


def test_labels_are_unique():
    assert len({case.label for case in CASES}) == len(CASES) > 300
