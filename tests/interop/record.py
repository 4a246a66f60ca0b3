"""Records what a real Synapse signs: writes tests/data/signed/recorded.json.

usage: unshare -n sh -c 'ip link set lo up && PYTHONPATH=tests python3 -m interop.record'

A tap stands between the door of socialnetwork24.com and its homeserver and keeps the requests that
arrive from tchncs.de, byte for byte, while people of both talk: rooms of an old and of a new version,
odd numbers, emoji, devices, profiles, media. The file has the form that data/signed/make.py writes.
"""

import json
import os
import socket
import sys
import threading
import time
from urllib.parse import quote

from .client import ApiError
from .test_devices import publish
from .world import ROOT, World, WorldError

TAP = ("127.24.0.3", 8008)
EACH = 3           # requests kept of a kind
TRANSACTIONS = 14  # and of /send
BODIES_MAX = 120_000


class Tap:
    """Passes bytes on, and keeps those that go to the homeserver."""

    def __init__(self, target):
        self.target, self.streams = target, []
        self.server = socket.create_server(TAP)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.server.accept()
            far = socket.create_connection(self.target)
            kept = bytearray()
            self.streams.append(kept)
            for source, sink, keep in ((near, far, kept), (far, near, None)):
                threading.Thread(target=self.copy, args=(source, sink, keep), daemon=True).start()

    @staticmethod
    def copy(source, sink, keep):
        try:
            while data := source.recv(65536):
                if keep is not None:
                    keep += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def requests(self):
        """(method, target, [(name, value)], body) of all of them."""
        for stream in self.streams:
            yield from split(bytes(stream))


def split(data):
    while b"\r\n\r\n" in data:
        head, data = data.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]
        known = {name.lower(): value for name, value in fields}
        if "transfer-encoding" in known:
            body, data = unchunk(data)
        else:
            length = int(known.get("content-length", 0))
            body, data = data[:length], data[length:]
        yield method, target, fields, body


def unchunk(data):
    body = b""
    while True:
        size, data = data.split(b"\r\n", 1)
        size = int(size.split(b";")[0], 16)
        body, data = body + data[:size], data[size + 2:]
        if size == 0:
            return body, data


def tap_home(world):
    """Has the door of home reach its homeserver through the tap."""
    world.home.homeserver_url = lambda: "http://%s:%d" % TAP


class TappedWorld(World):
    def make_domains(self):
        super().make_domains()
        tap_home(self)


def talk(world):
    """tchncs.de is the sender of everything that is of interest."""
    home, away = world.home, world.away
    adam, egon = home.synapse.register("adam"), away.synapse.register("egon")
    publish(adam, 3)
    publish(egon, 3)
    old = egon.create(preset="public_chat", room_version="1", name="Alte Zahlen")
    new = egon.create(preset="public_chat", topic="Türen \U0001f6aa")
    for room in (old, new):
        egon.invite(room, adam.user_id)
        adam.wait_for("the invitation", lambda r=room: r in adam.invites)
        adam.join(room)
        egon.wait_member(room, adam.user_id, "join")
    odd = {"half": 1.5, "exponent": 1e10, "small": 1e-7, "zero": -0.0, "large": 9223372036854775807,
           "edge": [9007199254740991, -9007199254740993], "third": 1 / 3, "hundred": 100.0}
    for content in (odd, {"deep": [[odd, {"n": [odd]}]]}):
        adam.wait_event(old, egon.send(old, {"msgtype": "m.text", "body": "numbers", "org.example.odd": content}))
    texts = ["Grüß Gott", "日本語 \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467", "\u2028\u2029\u0085\ufeff",
             "\"\\/\b\f\n\r\t\u0001\u001f\u007f", "e\u0301 \u202e \uffff \U0010ffff", "x" * 30000]
    for text in texts:
        adam.wait_event(new, egon.say(new, text))
    event = egon.send(new, {"\uffff": 1, "\U00010000": 2, "": 3, "Z": 4, "a": 5, "\u00e9": 6}, "org.example.keys")
    adam.wait_event(new, event)
    room = quote(new, safe="")
    for typing in (True, False):
        egon.call("PUT", f"/_matrix/client/v3/rooms/{room}/typing/{egon.user_id}", {"typing": typing, "timeout": 20000})
    egon.call("POST", f"/_matrix/client/v3/rooms/{room}/receipt/m.read/{quote(adam.say(new, 'read this'), safe='')}", {})
    egon.send_to_device("org.example.hello", {adam.user_id: {adam.device_id: {"text": "hällo \U0001f44b", "n": 7}}})
    adam.wait_for("a message to the device", lambda: adam.to_device)
    egon.set_profile("displayname", "Egon \U0001f60e \"der Erste\"")
    stranger = away.synapse.register("stranger")
    friend = home.synapse.register("friend")
    publish(friend, 1)
    mxc = friend.upload(os.urandom(64))
    friend.create(preset="public_chat", room_alias_name="büro", name="Büro", visibility="public")
    quietly = (
        lambda: stranger.call("POST", "/_matrix/client/v3/keys/query", {"device_keys": {friend.user_id: []}}),
        lambda: stranger.call("POST", "/_matrix/client/v3/keys/claim", {
            "one_time_keys": {friend.user_id: {friend.device_id: "signed_curve25519"}}}),
        lambda: stranger.profile(friend.user_id),
        lambda: stranger.profile("@nobody+x=y:" + home.server_name),
        lambda: stranger.call("GET", "/_matrix/client/v3/directory/room/" + quote(f"#büro:{home.server_name}", safe="")),
        lambda: stranger.call("POST", "/_matrix/client/v3/publicRooms", {"filter": {"generic_search_term": "ü"}},
                              {"server": home.server_name}),
        lambda: stranger.call("GET", "/_matrix/client/v3/publicRooms", query={"server": home.server_name, "limit": 3}),
        lambda: stranger.download(mxc),
        lambda: stranger.join(f"#büro:{home.server_name}"),
        lambda: stranger.leave(next(iter(stranger.joined), new)),
    )
    for step in quietly:
        try:
            step()
        except ApiError as error:
            print(f"record: {error}", file=sys.stderr)
        stranger.sync()
    time.sleep(3)


def kind_of(method, target):
    path = target.split("?")[0].split("/")
    return (method, *path[:5], *path[5:6])


def choose(requests, key_document, server_name):
    kinds, chosen, size = {}, [], 0
    for method, target, fields, body in requests:
        lines = [value for name, value in fields if name.lower() == "authorization" and value.startswith("X-Matrix")]
        if not lines:
            continue
        kind = kind_of(method, target)
        kinds[kind] = kinds.get(kind, 0) + 1
        is_send = "/send/" in target
        if kinds[kind] > (TRANSACTIONS if is_send and b"msgtype" in body or b"edu_type" in body else EACH):
            continue
        size += len(body)
        if size > BODIES_MAX:
            break
        chosen.append({"what": f"{len(chosen) + 1}: {method} {target.split('?')[0]}", "want": "ok",
                       "origin": key_document["server_name"], "server_name": server_name, "method": method,
                       "target": target, "authorization": lines, "body": body.decode()})
    return chosen


def main():
    try:
        with TappedWorld(os.path.join(ROOT, "build", "interop", "record"), log=print) as world:
            tap = Tap(("127.24.0.2", 8008))
            talk(world)
            _, _, document = world.away.synapse.client().request("GET", "/_matrix/key/v2/server")
            requests = list(tap.requests())
            at = int(time.time() * 1000)
            names = world.away.server_name, world.home.server_name
    except WorldError as error:
        print(error, file=sys.stderr)
        return 1
    chosen = choose(requests, json.loads(document), names[1])
    path = os.path.join(ROOT, "tests", "data", "signed", "recorded.json")
    with open(path, "w", encoding="ascii") as out:
        json.dump({"at": at, "origins": {names[0]: document.decode()}, "requests": chosen}, out, indent=0)
        out.write("\n")
    print(f"{len(chosen)} of {len(requests)} requests in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
