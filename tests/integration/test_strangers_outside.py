"""Forged requests never wake the machine, and strangers from public addresses are slowed down.

The real executable in a network made for the test: a router with a sleeping homeserver on its network, whose
network card hears what it would be woken by; other servers and strangers are on the router's outer side.
"""

import json
import os

import pytest

from support.namespace import Network, NoNamespaces
from support.process import wait_until
from support.world import World
from talk import assert_cors, get, head
from test_sleeping import OURS, PROFILE, Night, Origin
from test_wake_on_lan import HOME, MAC, Home, collect

INVITE = "/_matrix/federation/v2/invite/%21r%3Aserver0.test/%24e"
SYNC = "/_matrix/client/v3/sync"
STRANGERS = "9.9.9.9", "9.9.9.10"
ANSWER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "11")
        self.end_headers()
        self.wfile.write(b'{"pdus":{}}')
    do_GET = do_PUT = do_POST = answer
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("10.77.1.20", 8008), Handler).serve_forever()
"""


class Machine(Home):
    """The homeserver's machine, of which only the network card listens while it sleeps."""

    def switch_on(self):
        self.nas.ip("address", "add", f"{HOME}/24", "dev", "eth0")
        self.homeserver = self.nas.start(["python3", "-c", ANSWER])


class Place(Night):
    """A door in the router's namespace; the homeserver is the machine."""

    def __init__(self, world, machine):
        state = world.path("state")
        os.makedirs(state, exist_ok=True)
        self.world, self.machine, self.logged = world, machine, 0
        self.sections = [world.main(state_dir=state), world.domain(),
                         ("homeserver", "nas", {"url": f"http://{HOME}:8008", "sleeps": "1", "wake_mac": MAC,
                                                "probe_interval": "1s"}),
                         *world.listens()]
        self.door = world.door(self.sections, start=False)

    def switch_off(self):
        self.machine.switch_off()
        self.wait_state("asleep")

    def packets(self):
        return self.machine.packets()


@pytest.fixture
def place():
    with Network() as network:
        try:
            machine = Machine(network)
            for stranger in STRANGERS:
                machine.router.ip("address", "add", f"{stranger}/32", "dev", "lo")
            with machine.router.entered(), World() as world:
                yield Place(world, machine)
        except NoNamespaces as error:
            pytest.skip(str(error))


def ask(place, request, source=None, method=None):
    with place.world.peer(source=source) as peer:
        return peer.ask(request, method)


def forgeries(egon, other):
    """What anybody can send who has no key of egon's."""
    send, body = egon.name_next(), egon.body("true")
    yield "changed body", egon.request(send, body).replace(b'"true"', b'"fake"')
    yield "changed target", egon.request(send, body).replace(b"/send/", b"/send/9")
    yield "another's signature", other.request(send, body).replace(other.name.encode() + b'",key',
                                                                   egon.name.encode() + b'",key')
    yield "for another server", egon.request(send, body, destination="other.test")
    yield "unsigned", head("PUT", send, f"Content-Length: {len(body)}") + body
    yield "nobody's name", egon.request(send, body).replace(egon.name.encode() + b'",key', b'nobody.test",key')
    yield "forged invitation", other.request(INVITE, b"{}").replace(other.name.encode() + b'",key',
                                                                    egon.name.encode() + b'",key')
    yield "unsigned invitation", head("PUT", INVITE, "Content-Length: 2") + b"{}"
    yield "forged claim of keys", egon.request("/_matrix/federation/v1/user/keys/claim", b'{"a":1}', method="POST"
                                               ).replace(b'{"a":1}', b'{"a":2}')
    yield "unknown token", head("GET", SYNC, "Authorization: Bearer unknown")
    yield "no token", head("GET", SYNC)
    yield "media without a signature", get("/_matrix/media/v3/download/example.org/x")
    yield "version", get()


def test_forged_requests_never_wake(place):
    egon, other = (Origin(place.world, f"server{number}.test", 40 + number) for number in range(2))
    place.begin()
    place.wait_state("asleep")
    for what, request in forgeries(egon, other):
        for _ in range(3 if b"X-Matrix" in request else 1):  # some others wait a while for nothing
            response = ask(place, request)
            assert response.status >= 400, (what, response.status)
        assert place.packets() == [], what
    assert place.door.counted("wake_packets") == 0 and place.state() == "asleep"
    with egon.peer() as peer:
        peer.send(egon.request(INVITE, b"{}"))
        assert collect(place.machine.packets, 2)[:2] == [9, 7]
        place.machine.switch_on()
        assert peer.response("PUT").status == 200
    place.wait_awake()


def test_message_wakes_and_typing_does_not(place):
    egon = Origin(place.world, "server0.test", 40)
    place.begin()
    place.wait_state("asleep")
    typing = json.dumps({"pdus": [], "edus": [{"edu_type": "m.typing", "content": {}}]}).encode()
    assert ask(place, egon.request(egon.name_next(), typing)).status == 200
    assert place.packets() == []
    egon.keep("a message")
    assert collect(place.machine.packets, 2)[:2] == [9, 7]
    place.machine.switch_on()
    place.wait_awake()
    assert place.door.counted("queue_delivered") == 1


def test_client_wakes_with_a_known_token_only(place):
    place.machine.switch_on()
    place.begin()
    place.wait_state("awake")
    good = head("GET", SYNC, "Authorization: Bearer syt_good")
    assert ask(place, good).status == 200
    place.switch_off()
    for request in (good.replace(b"good", b"bad!"), head("GET", SYNC), good.replace(b"Bearer", b"Basic")):
        response = ask(place, request)
        assert response.status == 503
        assert_cors(response)
    assert place.packets() == []
    with place.world.peer() as peer:
        peer.send(good)
        assert collect(place.machine.packets, 2)[:2] == [9, 7]
        place.machine.switch_on()
        assert peer.response().status == 200
    place.wait_awake()


def test_strangers_are_slowed_by_address(place):
    """One address sends too much, whatever it claims; another one and a server that was verified do not wait."""
    place.machine.switch_on()
    egon = Origin(place.world, "server0.test", 40)
    place.sections.append(("limits", "limits", {"address_rate": "2", "origin_rate": "1000"}))
    place.door.write_config(place.sections)
    place.begin()
    place.wait_state("awake")
    place.world.dns.add("server0.test", "A", egon.source)
    with place.world.peer(source=STRANGERS[0]) as peer:
        assert peer.ask(egon.get(PROFILE)).status == 200  # egon writes from here: verified
        for number in range(30):  # of which 20 may come at once
            claim = head("GET", PROFILE, 'Authorization: X-Matrix origin="n%d.test",key="ed25519:1",sig="AAAA"' % number)
            assert peer.ask(claim).status == 200, "the homeserver judges"
        slowed = place.door.counted("gate_slowed")
        assert slowed >= 1
        for _ in range(50):
            assert peer.ask(egon.get(PROFILE)).status == 200
        with place.world.peer(source=STRANGERS[1]) as other:
            for _ in range(20):
                assert other.ask(get()).status == 200
        with egon.peer() as inside:
            for _ in range(100):
                assert inside.ask(get()).status == 200
        assert place.door.counted("gate_slowed") == slowed
    assert place.door.counted("gate_crowded") == 0


def test_too_long_a_line_ends_in_429(place):
    """Who would wait for longer than peers are patient is told so, and when to come again."""
    place.machine.switch_on()
    place.sections.append(("limits", "limits", {"address_rate": "1", "connections_per_address": "32"}))
    place.door.write_config(place.sections)
    place.begin()
    place.wait_state("awake")
    peers = [place.world.peer(source=STRANGERS[0]) for _ in range(30)]
    for peer in peers:
        peer.send(get())
    place.door.wait_counter("gate_crowded", 4)
    answers = [peer.response() for peer in peers]
    by_status = {status: [answer for answer in answers if answer.status == status] for status in (200, 429)}
    assert len(by_status[200]) + len(by_status[429]) == 30 and len(by_status[200]) >= 20
    for answer in by_status[429]:
        assert json.loads(answer.body)["errcode"] == "M_LIMIT_EXCEEDED" and answer.get("retry-after")
    place.world.close_peers()
    place.door.settle()


def test_forged_bodies_that_never_end_leave_room(place):
    """In the name of a server whose key is known, a byte now and then: 6 MB of them, where 2 MiB are for all."""
    egon, other = (Origin(place.world, f"server{number}.test", 40 + number) for number in range(2))
    place.begin()
    place.wait_state("asleep")
    egon.keep("its key is known now")
    edus = [{"edu_type": "m.direct_to_device", "content": {"x": "y" * 60000}}] * 16
    peers = []
    for _ in range(6):
        peer = place.world.peer(source=STRANGERS[0])
        assert peer.send_gently(egon.request(egon.name_next(), egon.body(edus=edus))[:-10]) in (True, False)
        peers.append(peer)
    wait_until("most to be refused", lambda: place.door.causes("queue_refused").get("limit", 0) >= 5)
    for origin, count in ((egon, 16), (other, 7)):
        with origin.peer() as peer:
            assert peer.ask(origin.request(origin.name_next(), origin.body(edus=edus[:count]))).status == 200
    assert place.door.gauge("inbound_requests_open") >= 1, "one of the forged is still coming"
    place.world.close_peers()
    place.door.settle()


def test_forged_questions_that_never_end_leave_room(place):
    egon, other = (Origin(place.world, f"server{number}.test", 40 + number) for number in range(2))
    place.begin()
    place.wait_state("asleep")
    egon.keep("its key is known now")
    claim = egon.request("/_matrix/federation/v1/user/keys/claim", b'{"one_time_keys": {}}', method="POST")
    peers = [place.world.peer(source=STRANGERS[0]) for _ in range(8)]
    for peer in peers:
        peer.send(claim[:-5])
    wait_until("half to be refused", lambda: place.door.causes("held_refused").get("busy", 0) == 4)
    with other.peer() as peer:
        peer.send(other.request(INVITE, b"{}"))
        place.door.wait_gauge("held_requests_open", 1)
        place.machine.switch_on()
        assert peer.response("PUT").status == 200
    place.world.close_peers()
    place.door.settle()
