"""Writes made.json: requests signed by Synapse's own code, and what must become of them.

usage: build/interop/venv/bin/python tests/data/signed/make.py (tests/interop/install makes that)

Keys come from fixed seeds, so the output is the same in every run. recorded.json, of the same form,
is what a running Synapse sent: see tests/interop/record.py.
"""

import base64
import json
import os
from types import SimpleNamespace

from canonicaljson import encode_canonical_json
from signedjson.key import decode_signing_key_base64, encode_verify_key_base64, get_verify_key
from signedjson.sign import sign_json
from synapse.http.matrixfederationclient import MatrixFederationHttpClient

HERE = os.path.dirname(os.path.abspath(__file__))
AT = 1800000000000
DAY = 24 * 3600 * 1000
US = "relay.example"
SEND = "/_matrix/federation/v1/send/"

# Appendices, "Cryptographic Test Vectors"
SPEC_SEED = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"


def key(version, seed):
    if isinstance(seed, int):
        seed = base64.b64encode(bytes([seed]) * 32).decode().rstrip("=")
    return decode_signing_key_base64("ed25519", version, seed)


def listed(keys):
    return {f"ed25519:{k.version}": {"key": encode_verify_key_base64(get_verify_key(k))} for k in keys}


def document(name, keys, until=AT + DAY, old=()):
    doc = {"server_name": name, "valid_until_ts": until, "verify_keys": listed(keys),
           "old_verify_keys": {i: {**k, "expired_ts": AT - DAY} for i, k in listed(old).items()}}
    for k in keys:
        doc = sign_json(doc, name, k)
    return encode_canonical_json(doc).decode()


SPEC = key("1", SPEC_SEED)
ONE, TWO, OLD, STRANGE = key("a_one", 1), key("a_two", 2), key("a_old", 3), key("a_strange", 4)
PORT, SIX, GONE = key("p", 5), key("six", 6), key("gone", 7)

ORIGINS = {
    "domain": document("domain", [SPEC]),
    "a.example": document("a.example", [ONE, TWO], old=[OLD]),
    "b.example:8448": document("b.example:8448", [PORT]),
    "[2001:db8::1]:8448": document("[2001:db8::1]:8448", [SIX]),
    "gone.example": document("gone.example", [GONE], until=AT - 1),
}


def synapse(origin, keys, method, target, content, destination=US):
    """Authorization lines as Synapse writes them, one for each key."""
    lines = []
    for k in keys:
        me = SimpleNamespace(server_name=origin, signing_key=k)
        lines += MatrixFederationHttpClient.build_auth_headers(
            me, destination.encode(), method.encode(), target.encode(), content)
    return [line.decode() for line in lines]


def request(what, method, target, content=None, *, origin="a.example", keys=(ONE,), want="ok", body=None,
            edit=None, sent_to=US, server_name=US, sent_target=None):
    lines = synapse(origin, keys, method, target, content, sent_to)
    if body is None:
        body = encode_canonical_json(content).decode() if content is not None else ""
    if edit is not None:
        lines = edit(lines)
    return {"what": what, "want": want, "origin": origin, "server_name": server_name, "method": method,
            "target": sent_target or target, "authorization": lines, "body": body}


def each(change):
    return lambda lines: [change(line) for line in lines]


def swapped(old, new):
    return each(lambda line: line.replace(old, new, 1))


def parsed(line):
    return dict(part.split("=", 1) for part in line[len("X-Matrix "):].split(","))


def sig(line):
    return parsed(line)["sig"].strip('"')


def event(content, **more):
    return {"auth_events": [["$a:a.example", {"sha256": "x"}]], "content": content, "depth": 3,
            "event_id": "$1:a.example", "hashes": {"sha256": "y"}, "origin": "a.example",
            "origin_server_ts": AT, "prev_events": [["$0:a.example", {"sha256": "z"}]], "prev_state": [],
            "room_id": "!r:a.example", "sender": "@u:a.example", "signatures": {"a.example": {"ed25519:a_one": "s"}},
            "type": "m.room.message", "unsigned": {"age": 1}, **more}


def transaction(pdus=(), edus=(), origin="a.example"):
    return {"origin": origin, "origin_server_ts": AT, "pdus": list(pdus), "edus": list(edus)}


def edu(kind, content):
    return {"edu_type": kind, "content": content}


TYPING = edu("m.typing", {"room_id": "!r:a.example", "user_id": "@u:a.example", "typing": True})
MESSAGE = event({"body": "hello", "msgtype": "m.text"})

# What Python makes of numbers that rooms of version 1 to 5 may carry.
ODD = json.loads('{"a":1.5,"b":1e10,"c":1E-7,"d":-0.0,"e":123456789012345678901234567890,'
                 '"f":-9007199254740993,"g":1e400,"h":5e-324,"i":1.7976931348623157e308,"j":-0,'
                 '"k":9007199254740991,"l":100.0,"m":0.1}')
del ODD["g"]  # infinity, which its writer refuses

STRINGS = {
    "controls": "".join(map(chr, range(0x20))) + "\x7f",
    "quotes": "\"\\/\b\f\n\r\t",
    "lines": "\u2028\u2029\u0085\ufeff",
    "planes": "é日本\U0001f600\U0010ffff\ue000\uffff",
    "combined": "e\u0301\u200d\u202e",
}
KEYS_IN_ORDER = {"\uffff": 1, "\U00010000": 2, "a": 3, "Z": 4, "": 5, "\u00e9": 6, "e\u0301": 7, "\x7f": 8, "\x01": 9}

GET = "/_matrix/federation/v1/query/profile?user_id=%40alice%3Arelay.example&field=displayname"


def spelt(content):
    """The same in another spelling: order, blanks, escapes."""
    text = json.dumps(content, indent=2, ensure_ascii=True)
    members = list(content.items())
    return " \n" + json.dumps(dict(reversed(members)), indent=2).replace("/", "\\/") + "\r\n" if members else text


def good():
    ok = request
    yield ok("query of a profile", "GET", GET, origin="domain", keys=[SPEC])
    yield ok("query of keys with emoji", "POST", "/_matrix/federation/v1/user/keys/query",
             {"device_keys": {"@ä€😀:relay.example": []}}, origin="domain", keys=[SPEC])
    yield ok("typing", "PUT", SEND + "1", transaction(edus=[TYPING]))
    yield ok("empty transaction", "PUT", SEND + "2", transaction())
    yield ok("a message", "PUT", SEND + "3", transaction([MESSAGE]))
    yield ok("odd numbers", "PUT", SEND + "4", transaction([event(ODD)]))
    yield ok("odd numbers deep down", "PUT", SEND + "5", transaction([event({"x": [[ODD, {"y": [ODD]}]]})]))
    yield ok("strings of every kind", "PUT", SEND + "6", transaction([event(STRINGS)]))
    yield ok("keys of every kind", "PUT", SEND + "7", transaction([event(KEYS_IN_ORDER)]))
    yield ok("signatures inside are signed", "PUT", SEND + "8",
             transaction([event({"signatures": 1, "unsigned": {"signatures": []}})]))
    yield ok("to a device", "PUT", SEND + "9", transaction(edus=[edu("m.direct_to_device", {
        "sender": "@u:a.example", "type": "m.room.encrypted", "message_id": "1",
        "messages": {"@alice:relay.example": {"DEVICE": {"ciphertext": {"k": {"body": "A+/=", "type": 0}}}}}})]))
    yield ok("no body although POST", "POST", "/_matrix/federation/v1/user/keys/claim")
    yield ok("an empty object", "PUT", "/_matrix/federation/v1/x", {})
    yield ok("large", "PUT", SEND + "10", transaction(
        [event({"body": f"{i} " + "Zeile \u00fc\n" * 150, "msgtype": "m.text"}, depth=i) for i in range(50)],
        [edu("m.receipt", {"!r:a.example": {"m.read": {f"@u{i}:a.example": {"event_ids": [f"${i}"]}}}}) for i in range(100)]))
    yield ok("two keys", "PUT", SEND + "11", transaction([MESSAGE]), keys=[ONE, TWO])
    yield ok("the second key", "PUT", SEND + "12", transaction([MESSAGE]), keys=[TWO])
    yield ok("one key known, one not", "PUT", SEND + "13", transaction([MESSAGE]), keys=[STRANGE, ONE])
    yield ok("one key good, one retired", "PUT", SEND + "14", transaction([MESSAGE]), keys=[OLD, TWO])
    yield ok("a line twice", "GET", GET, edit=lambda lines: lines * 2)
    yield ok("another scheme beside", "GET", GET, edit=lambda lines: ["Bearer x", *lines, "Basic eDp5"])
    yield ok("a signature of another algorithm beside", "GET", GET, edit=lambda lines: [
        lines[0].replace("ed25519:a_one", "rsa:1"), *lines])
    yield ok("origin with a port", "PUT", SEND + "15", transaction([MESSAGE], origin="b.example:8448"),
             origin="b.example:8448", keys=[PORT])
    yield ok("origin unquoted, as old servers do", "GET", GET, origin="b.example:8448", keys=[PORT],
             edit=each(lambda line: line.replace('"', "")))
    yield ok("origin is an address", "GET", GET, origin="[2001:db8::1]:8448", keys=[SIX])
    yield ok("we have a port", "GET", GET, sent_to="relay.example:8448", server_name="relay.example:8448")
    yield ok("no destination, as before v1.3", "GET", GET,
             edit=each(lambda line: line.split(",destination")[0]))
    yield ok("escapes in the target", "PUT", "/_matrix/federation/v2/invite/%21r%3Aa.example/%24e%2Fv?x=%zz&y=a+b;%c3%BC",
             {"room_version": "10", "event": MESSAGE})
    yield ok("another spelling of the header", "GET", GET, edit=each(
        lambda line: "x-matrix   " + " ,\t".join(f"{n.upper()} = {v}" for n, v in reversed(parsed(line).items())) + " , extra=1"))
    yield ok("backslashes in the header", "GET", GET, edit=each(lambda line: line.replace("a.example", "\\a.e\\xample")))
    yield ok("padded signature", "GET", GET, edit=each(lambda line: line.replace(sig(line), sig(line) + "==")))
    for number, content in enumerate((transaction([event(STRINGS), event(KEYS_IN_ORDER)], [TYPING]),
                                      {"device_keys": {"@ä€😀:relay.example": []}})):
        yield ok(f"another spelling of the body, {number}", "PUT", SEND + f"s{number}", content, body=spelt(content))
    # A sender that signs integers and writes them with an exponent.
    yield ok("integers written otherwise", "PUT", SEND + "16", transaction([event({"n": 10000000000, "z": 0})]),
             body=encode_canonical_json(transaction([event({"n": 10000000000, "z": 0})])).decode()
             .replace('"n":10000000000', '"n":1e10').replace('"z":0', '"z":-0'))


def bad():
    plain = transaction([MESSAGE])
    text = encode_canonical_json(plain).decode()
    no = "bad-signature"
    yield request("another body", "PUT", SEND + "1", plain, body=text.replace("hello", "hellp"), want=no)
    yield request("a member more", "PUT", SEND + "1", plain, body=text[:-1] + ',"x":1}', want=no)
    yield request("signatures added on top", "PUT", SEND + "1", plain, body=text[:-1] + ',"signatures":{}}', want=no)
    yield request("an EDU less", "PUT", SEND + "1", transaction([MESSAGE], [TYPING]), body=text, want=no)
    yield request("a float in another form", "PUT", SEND + "1", transaction([event({"n": 1.5})]),
                  body=encode_canonical_json(transaction([event({"n": 1.5})])).decode().replace("1.5", "1.50"), want=no)
    yield request("the body left out", "PUT", SEND + "1", plain, body="", want=no)
    yield request("a body put in", "GET", GET, body="{}", want=no)
    yield request("another method", "PUT", SEND + "1", plain, want=no) | {"method": "POST"}
    yield request("another target", "PUT", SEND + "1", plain, sent_target=SEND + "2", want=no)
    yield request("the query in another order", "GET", GET, want=no,
                  sent_target="/_matrix/federation/v1/query/profile?field=displayname&user_id=%40alice%3Arelay.example")
    yield request("escapes in another case", "GET", GET, sent_target=GET.replace("%3A", "%3a"), want=no)
    yield request("escapes undone", "GET", GET, sent_target=GET.replace("%40", "@"), want=no)
    yield request("signed by another's key", "GET", GET, keys=[STRANGE], want=no)
    yield request("signed by another's key of that name", "GET", GET, keys=[key("a_one", 9)], want=no)
    yield request("signed by a retired key", "GET", GET, keys=[OLD], want=no)
    yield request("signed by a key whose time is over", "GET", GET, origin="gone.example", keys=[GONE], want=no)
    yield request("one good, one wrong", "GET", GET, keys=[ONE, key("a_two", 9)], want=no)
    yield request("one wrong, one good", "GET", GET, keys=[key("a_one", 9), TWO], want=no)
    yield request("two signatures by one key", "GET", GET, keys=[ONE, ONE], want=no,
                  edit=lambda lines: [lines[0], lines[1].replace(sig(lines[1]), "A" * 86)])
    yield request("another algorithm alone", "GET", GET, edit=swapped("ed25519:a_one", "rsa:1"), want=no)
    yield request("no key id", "GET", GET, edit=swapped("ed25519:a_one", "a_one"), want=no)
    yield request("signature cut", "GET", GET, edit=each(lambda line: line.replace(sig(line), sig(line)[:-1])), want=no)
    yield request("signature of zeros", "GET", GET, edit=each(lambda line: line.replace(sig(line), "A" * 86)), want=no)
    yield request("signature too long", "GET", GET, edit=each(lambda line: line.replace(sig(line), sig(line) + "A" * 400)), want=no)
    yield request("another origin", "GET", GET, origin="domain", keys=[SPEC], edit=swapped('"domain"', '"a.example"'), want=no)
    yield request("signed for another, said to be for us", "GET", GET, sent_to="x.example",
                  edit=swapped("x.example", US), want=no)
    yield request("for another", "GET", GET, sent_to="x.example", want="denied")
    yield request("for us in another case", "GET", GET, sent_to="Relay.example", want="denied")
    yield request("for us at a port", "GET", GET, sent_to="relay.example:8448", want="denied")
    yield request("one line for another", "GET", GET, keys=[ONE, TWO], want="denied",
                  edit=lambda lines: [lines[0], lines[1].replace(US, "x.example")])
    yield request("no signature", "GET", GET, edit=lambda lines: [], want="not-found")
    yield request("a token instead", "GET", GET, edit=lambda lines: ["Bearer x"], want="not-found")
    yield request("two origins", "GET", GET, want="bad-syntax",
                  edit=lambda lines: [lines[0], lines[0].replace("a.example", "domain")])
    yield request("origin twice", "GET", GET, edit=each(lambda line: line + ',origin="domain"'), want="bad-syntax")
    yield request("origin is no name", "GET", GET, edit=swapped("a.example", "a_example"), want="bad-syntax")
    yield request("nine lines", "GET", GET, edit=lambda lines: lines * 9, want="bad-syntax")
    yield request("body is a list", "PUT", SEND + "1", plain, body="[]", want="bad-syntax")
    yield request("body is cut", "PUT", SEND + "1", plain, body=text[:-1], want="bad-syntax")
    yield request("something behind the body", "PUT", SEND + "1", plain, body=text + "{}", want="bad-syntax")
    yield request("a member twice", "PUT", SEND + "1", plain, body='{"edus":[],' + text[1:], want="bad-syntax")
    yield request("half a surrogate", "PUT", SEND + "1", plain, body=text.replace("hello", "\\ud800"), want="bad-syntax")


def main():
    with open(os.path.join(HERE, "made.json"), "w", encoding="ascii") as out:
        json.dump({"at": AT, "origins": ORIGINS, "requests": [*good(), *bad()]}, out, indent=0)
        out.write("\n")


if __name__ == "__main__":
    main()
