"""A small Matrix client: the standard library, no encryption, everything it saw kept."""

import http.client
import json
import socket
import ssl
import time
from collections import defaultdict
from urllib.parse import quote, urlencode


# Enough for every burst, so that no timeline arrives with a gap.
FILTER = json.dumps({"room": {"timeline": {"limit": 500}}})


class ApiError(Exception):
    """Any status but 2xx."""

    def __init__(self, request, status, headers, body):
        super().__init__(f"{request}: {status} {body[:300]!r}")
        self.status, self.headers, self.body = status, headers, body
        try:
            self.errcode = json.loads(body).get("errcode")
        except (ValueError, AttributeError):
            self.errcode = None


class Tcp:
    headers = {}

    def __init__(self, address, port):
        self.address, self.port = address, port

    def connect(self, timeout):
        return http.client.HTTPConnection(self.address, self.port, timeout=timeout)


class Unix:
    # On a unix socket Synapse takes its client for a reverse proxy and wants to know for whom it speaks.
    headers = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https"}

    def __init__(self, path):
        self.path = path

    def connect(self, timeout):
        connection = http.client.HTTPConnection("localhost", timeout=timeout)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(timeout)
        try:
            connection.sock.connect(self.path)
        except OSError:
            connection.sock.close()
            raise
        return connection


class Tls:
    """host is the name in SNI, Host and certificate; address is where it is."""

    headers = {}

    def __init__(self, host, address, port, ca_file):
        self.host, self.address, self.port = host, address, port
        self.context = ssl.create_default_context(cafile=ca_file)

    def connect(self, timeout):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        plain = socket.create_connection((self.address, self.port), timeout)
        try:
            connection.sock = self.context.wrap_socket(plain, server_hostname=self.host)
        except OSError:
            plain.close()
            raise
        return connection


class Client:
    def __init__(self, endpoint, server_name):
        self.endpoint, self.server_name = endpoint, server_name
        self.token = self.user_id = self.device_id = self.since = None
        self.presence = None               # what syncing makes of it; "offline": others hear nothing
        self.counter = 0
        self.timeline = defaultdict(list)  # room id -> events
        self.ephemeral = defaultdict(list)
        self.invites = {}                  # room id -> stripped state
        self.joined, self.left = set(), set()
        self.to_device, self.changed = [], set()

    def adopt(self, login):
        self.token, self.user_id, self.device_id = login["access_token"], login["user_id"], login["device_id"]

    def login(self, name, password):
        self.adopt(self.call("POST", "/_matrix/client/v3/login", {
            "type": "m.login.password", "password": password,
            "identifier": {"type": "m.id.user", "user": name}}))
        return self

    # Requests

    def request(self, method, path, body=None, headers=None, timeout=60):
        """One request on a connection of its own; returns status, headers and bytes."""
        headers = {**self.endpoint.headers, **(headers or {})}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        connection = self.endpoint.connect(timeout)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def raw(self, method, path, body=None, headers=None, timeout=60):
        """As request; anything but 2xx raises."""
        status, got, data = self.request(method, path, body, headers, timeout)
        if not 200 <= status < 300:
            raise ApiError(f"{method} {path}", status, got, data)
        return got, data

    def call(self, method, path, body=None, query=None, timeout=60):
        """JSON in, JSON out."""
        if query:
            path += "?" + urlencode(query)
        headers, data = {}, None
        if body is not None:
            headers["Content-Type"], data = "application/json", json.dumps(body)
        return json.loads(self.raw(method, path, data, headers, timeout)[1])

    def health(self):
        return self.request("GET", "/health", timeout=5)[0] == 200

    # Rooms

    def create(self, **options):
        return self.call("POST", "/_matrix/client/v3/createRoom", options)["room_id"]

    def join(self, room, via=None):
        path = f"/_matrix/client/v3/join/{quote(room, safe='')}"
        return self.call("POST", path, {}, {"via": via} if via else None)["room_id"]

    def leave(self, room):
        self.call("POST", f"/_matrix/client/v3/rooms/{quote(room, safe='')}/leave", {})

    def invite(self, room, user):
        self.call("POST", f"/_matrix/client/v3/rooms/{quote(room, safe='')}/invite", {"user_id": user})

    def send(self, room, content, kind="m.room.message"):
        path = f"/_matrix/client/v3/rooms/{quote(room, safe='')}/send/{kind}/{self.txn()}"
        return self.call("PUT", path, content)["event_id"]

    def say(self, room, text):
        return self.send(room, {"msgtype": "m.text", "body": text})

    def send_to_device(self, kind, messages):
        self.call("PUT", f"/_matrix/client/v3/sendToDevice/{kind}/{self.txn()}", {"messages": messages})

    def state(self, room, kind):
        return self.call("GET", f"/_matrix/client/v3/rooms/{quote(room, safe='')}/state/{kind}/")

    def members(self, room):
        answer = self.call("GET", f"/_matrix/client/v3/rooms/{quote(room, safe='')}/joined_members")
        return set(answer["joined"])

    def txn(self):
        self.counter += 1
        return f"{self.device_id}.{self.counter}"

    # Receiving

    def sync(self, timeout_ms=0):
        query = {"timeout": timeout_ms, "filter": FILTER, **({"since": self.since} if self.since else {}),
                 **({"set_presence": self.presence} if self.presence else {})}
        got = self.call("GET", "/_matrix/client/v3/sync", query=query, timeout=60 + timeout_ms / 1000)
        self.since = got["next_batch"]
        rooms = got.get("rooms", {})
        for room, part in [*rooms.get("join", {}).items(), *rooms.get("leave", {}).items()]:
            state = part.get("state", {}).get("events", [])
            self.timeline[room] += state + part.get("timeline", {}).get("events", [])
            self.ephemeral[room] += part.get("ephemeral", {}).get("events", [])
        self.invites.update({room: part["invite_state"]["events"]
                             for room, part in rooms.get("invite", {}).items()})
        self.joined |= set(rooms.get("join", {}))
        self.left |= set(rooms.get("leave", {}))
        self.to_device += got.get("to_device", {}).get("events", [])
        self.changed |= set(got.get("device_lists", {}).get("changed", []))

    def wait_for(self, what, probe, seconds=60):
        """Syncs until probe() is true, and returns what it returned."""
        deadline = time.monotonic() + seconds
        while True:
            found = probe()
            if found:
                return found
            left = deadline - time.monotonic()
            assert left > 0, f"{self.user_id} waited {seconds} s for {what}"
            self.sync(int(min(left, 10) * 1000))

    def wait_event(self, room, event_id, seconds=60):
        return self.wait_for(f"event {event_id}", lambda: next(
            (event for event in self.timeline[room] if event["event_id"] == event_id), None), seconds)

    def notes(self, room, kind):
        """The ephemeral events of one kind seen so far."""
        return [note for note in self.ephemeral[room] if note["type"] == kind]

    def wait_member(self, room, user, membership, seconds=60):
        """Waits for the event that gives the user this membership."""
        return self.wait_for(f"{membership} of {user}", lambda: next(
            (event for event in reversed(self.timeline[room])
             if event["type"] == "m.room.member" and event["state_key"] == user
             and event["content"]["membership"] == membership), None), seconds)

    # Media, profile, keys

    def upload(self, data, content_type="application/octet-stream"):
        _, answer = self.raw("POST", "/_matrix/media/v3/upload", data, {"Content-Type": content_type})
        return json.loads(answer)["content_uri"]

    def download(self, mxc):
        """The bytes of an mxc address, by the authenticated endpoint."""
        return self.raw("GET", "/_matrix/client/v1/media/download/" + mxc.removeprefix("mxc://"))

    def profile(self, user):
        return self.call("GET", f"/_matrix/client/v3/profile/{quote(user, safe='')}")

    def set_profile(self, field, value):
        self.call("PUT", f"/_matrix/client/v3/profile/{quote(self.user_id, safe='')}/{field}", {field: value})
