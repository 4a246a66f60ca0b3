"""Limits for strangers: who is denied, who may invite, who is slowed down, whose client may wake the house.

With the homeserver awake and asleep; other servers sign what they send and serve their keys.
"""

import glob
import json
import os
import signal
import socket
import threading

import pytest

from support.process import wait_until
from support.world import SECRET
from talk import assert_cors, assert_error, get, head
# the servers of those tests, and fixtures that make them
from test_sleeping import OURS, PROFILE, WAKES, assert_kept, egon, nights, origins, others  # noqa: F401

KEYS = "/_matrix/key/v2/server"
SYNC = "/_matrix/client/v3/sync"
INVITE = "/_matrix/federation/v2/invite/%21r%3Aserver0.test/%24e"
TOKEN = "syt_YWRhbQ_secretsecretsecret_0aBcDe"


def set_policy(night, limits=None, outbound=False, **policy):
    """The night's door takes this over."""
    more = [night.world.outbound()] if outbound else []
    sections = [section for section in night.sections if section[0] not in ("policy", "outbound", "limits")]
    night.sections = [*sections, *more, ("limits", "limits", limits or {}), ("policy", "policy", policy)]
    night.door.write_config(night.sections)
    night.door.reload()


def forbidden(response):
    assert_error(response, 403, "M_FORBIDDEN")


def asked(night, target):
    return [request for request in list(night.home.requests) if request.target.decode() == target]


def fetched(origin):
    return len(origin.keys.requests)


# ---- denied, allowed ----

@pytest.mark.parametrize("asleep", [False, True], ids=["awake", "asleep"])
def test_denied(nights, origins, asleep):
    night, (bad, good, *_) = nights(asleep), origins
    set_policy(night, deny_server=[bad.name, "*.worse.test"])
    before = fetched(bad)
    for request in (bad.get(PROFILE), bad.request(INVITE, b"{}"), bad.request(bad.name_next(), bad.body())):
        with bad.peer() as peer:
            forbidden(peer.ask(request))
    forged = bad.get(PROFILE).replace(b'origin="server0.test"', b'origin="x.WORSE.test:8448"')
    forbidden(bad.peer().ask(forged))
    assert night.door.counted("gate_denied") == 4
    assert not asked(night, PROFILE) and not night.puts()
    assert fetched(bad) == before and night.door.counted("key_fetches") == 0, "nothing was spent"
    assert good.send()[1].status == 200


def test_denied_may_read_what_is_for_everybody(nights, egon):
    night = nights(asleep=False)
    set_policy(night, deny_server=[egon.name])
    for target in (KEYS, get().split()[1].decode()):
        assert egon.peer().ask(egon.get(target)).status == 200
        assert asked(night, target)
    assert night.door.counted("gate_denied") == 0


@pytest.mark.parametrize("asleep", [False, True], ids=["awake", "asleep"])
def test_allowed_alone(nights, origins, asleep):
    night, (stranger, friend, *_) = nights(asleep), origins
    set_policy(night, allow_server=[friend.name])
    forbidden(stranger.send()[1])
    assert friend.send()[1].status == 200
    assert night.door.counted("gate_unlisted") == 1
    set_policy(night, allow_server=["*.test"], deny_server=[friend.name])
    assert stranger.send()[1].status == 200
    forbidden(friend.send()[1])


def test_unreadable_is_refused_where_servers_are_judged(nights, origins):
    """Two lines with two origins: the homeserver might believe either."""
    night, (one, two, *_) = nights(asleep=False), origins
    lines = [f"Authorization: {origin.signer.authorization('GET', PROFILE, OURS)}" for origin in (one, two)]
    assert one.peer().ask(head("GET", PROFILE, *lines)).status == 200
    set_policy(night, deny_server=["bad.test"])
    assert_error(one.peer().ask(head("GET", PROFILE, *lines)), 400, "M_UNAUTHORIZED")
    assert night.door.counted("gate_unreadable") == 1


def ask_outbound(night, name, target=KEYS, body=b"", method="GET"):
    """The homeserver's own request to another server."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    text = (f"{method} matrix-federation://{name}{target} HTTP/1.1\r\nHost: {name}\r\n"
            f"Proxy-Authorization: Bearer {SECRET}\r\n{length}\r\n")
    with night.world.plain_peer() as peer:
        return peer.ask(text.encode() + body, method)


def test_outbound_obeys_both_lists(nights, origins):
    night, (one, two, *_) = nights(asleep=False), origins
    set_policy(night, outbound=True, allow_server=[one.name])
    assert ask_outbound(night, one.name).status == 200
    answer = ask_outbound(night, two.name)
    assert answer.status == 403 and json.loads(answer.body)["errcode"] == "M_FORBIDDEN"
    set_policy(night, outbound=True, allow_server=["*.test"], deny_server=[one.name])
    assert (ask_outbound(night, one.name).status, ask_outbound(night, two.name).status) == (403, 200)


# ---- invitations ----

@pytest.mark.parametrize("asleep", [False, True], ids=["awake", "asleep"])
def test_invitations_of_listed_servers(nights, origins, asleep):
    night, (stranger, friend, *_) = nights(asleep, homeserver=WAKES), origins
    set_policy(night, invites_from="allowed", invite_server=[friend.name])
    before = fetched(stranger)
    forbidden(stranger.peer().ask(stranger.request(INVITE, b"{}")))
    forbidden(stranger.peer().ask(stranger.request(INVITE.replace("v2", "v1"), b"{}")))
    assert fetched(stranger) == before and night.door.counted("gate_invites") == 2
    assert night.door.counted("wake_packets") == 0
    with friend.peer() as peer:
        peer.send(friend.request(INVITE, b'{"x":1}'))
        if asleep:
            night.door.wait_gauge("held_requests_open", 1)
            night.wake()
        assert peer.response("PUT").status == 200
    assert stranger.send()[1].status == 200, "only invitations"
    assert [request.body for request in asked(night, INVITE)] == [b'{"x":1}']


def test_forged_invitation_of_a_friend_is_not_taken(nights, origins):
    night, (stranger, friend, *_) = nights(homeserver=WAKES), origins
    set_policy(night, invites_from="allowed", invite_server=[friend.name])
    forged = stranger.request(INVITE, b"{}").replace(stranger.name.encode() + b'"', friend.name.encode() + b'"')
    assert_error(stranger.peer().ask(forged), 401)
    assert night.door.gauge("held_requests_open") == 0 and night.door.counted("wake_packets") == 0


def invites(origin):
    with origin.peer() as peer:
        return peer.ask(origin.request(INVITE, b"{}")).status


def test_known_are_those_that_the_homeserver_wrote_to(nights, origins):
    night, (one, two, three, four) = nights(asleep=False), origins
    set_policy(night, outbound=True, invites_from="known")
    assert invites(one) == 403
    send = "/_matrix/federation/v1/send/1"
    assert ask_outbound(night, one.name, send, b"{}", "PUT").status == 200
    assert invites(one) == 200
    # it asks strangers for their keys whenever they write, and tells them no
    assert ask_outbound(night, two.name).status == 200
    leave = "/_matrix/federation/v2/send_leave/%21r%3Aserver1.test/%24e"
    assert ask_outbound(night, two.name, leave, b"{}", "PUT").status == 200
    assert invites(two) == 403
    three.keys.script = lambda exchange: (exchange.read_body(), exchange.respond(500, b"{}", reason=b"No"))
    assert ask_outbound(night, three.name, send, b"{}", "PUT").status == 500
    assert invites(three) == 403
    assert invites(four) == 403
    night.restart(signal.SIGTERM)
    night.wait_awake()
    assert (invites(one), invites(two)) == (200, 403)


# ---- how fast ----

def test_too_fast_is_slowed_not_refused(nights, egon):
    night = nights(asleep=False)
    set_policy(night, limits={"origin_rate": "4"})
    assert egon.peer().ask(egon.get(PROFILE)).status == 200  # now its address is its own
    peers = [egon.peer() for _ in range(6)]
    for _ in range(40 // len(peers)):
        for peer in peers:
            assert peer.ask(egon.get(PROFILE)).status == 200
    assert night.door.counted("gate_slowed") == 0, "ten seconds' worth at once"
    for peer in peers:
        peer.send(egon.get(PROFILE))
    wait_until("a line", lambda: night.door.counted("gate_slowed") >= 1)
    assert [peer.response().status for peer in peers] == [200] * len(peers)
    assert night.door.gauge("gate_waiting") == 0 and night.door.counted("gate_crowded") == 0


def test_forger_slows_nobody_down(nights, origins, world):
    """He claims to be egon, from elsewhere."""
    night, (egon, forger, *_) = nights(asleep=False), origins
    set_policy(night, limits={"origin_rate": "2"})
    assert egon.peer().ask(egon.get(PROFILE)).status == 200
    night.home.script = lambda exchange: exchange.respond(401, b"{}", reason=b"No")
    with world.peer(source=forger.source) as peer:
        for _ in range(200):
            assert peer.ask(egon.get(PROFILE)).status == 401
    night.home.script = lambda exchange: exchange.respond()
    with egon.peer() as peer:
        for _ in range(19):
            assert peer.ask(egon.get(PROFILE)).status == 200
    assert night.door.counted("gate_slowed") == 0


def test_forger_holds_up_nobodys_lane(nights, origins, world):
    """A transaction in egon's name whose body never ends, and egon's own pass each other."""
    night, (egon, forger, *_) = nights(asleep=False), origins
    assert egon.send()[1].status == 200
    request = egon.request(egon.name_next(), egon.body("x" * 3000))
    night.home.cuts_allowed = True
    with world.peer(source=forger.source) as peer:
        peer.send(request[:-100])
        wait_until("it to be under way", lambda: len(night.puts()) == 2)
        assert egon.send()[1].status == 200
        assert len(night.puts()) == 3 and night.door.counted("queue_accepted") == 0


def slow_line(night, egon):
    """A peer that waits for its turn."""
    set_policy(night, limits={"origin_rate": "1"})
    with egon.peer() as peer:
        for _ in range(10):
            assert peer.ask(egon.get(PROFILE)).status == 200
    peers = [egon.peer() for _ in range(4)]
    for peer in peers:
        peer.send(egon.get(PROFILE))
    wait_until("a line", lambda: night.door.gauge("gate_waiting") >= 2)
    return peers


def test_peer_leaves_in_line(nights, egon):
    night = nights(asleep=False)
    assert egon.peer().ask(egon.get(PROFILE)).status == 200
    for peer in slow_line(night, egon):
        peer.reset()
    night.door.wait_gauge("gate_waiting", 0)
    night.world.close_peers()
    night.door.settle()


def test_reload_and_stop_while_some_wait_in_line(nights, egon):
    """The homeserver that they wait for is gone from the configuration meanwhile."""
    night = nights(asleep=False)
    assert egon.peer().ask(egon.get(PROFILE)).status == 200
    peers = slow_line(night, egon)
    night.sections[2][2]["url"] = "http://127.0.0.1:9"
    night.door.write_config(night.sections)
    night.door.reload()
    assert {peer.response().status for peer in peers} == {200}
    night.door.child.signal(signal.SIGTERM)
    assert night.door.child.wait(60) == 0


# ---- clients ----

def client(world, token=TOKEN, target=SYNC, method="GET"):
    peer = world.peer()
    peer.send(head(method, target, f"Authorization: Bearer {token}"))
    return peer


def is_refused(peer):
    response = peer.response()
    assert_error(response, 503)
    assert_cors(response)
    return response.get("retry-after") is not None


def test_client_wakes_with_a_token_that_was_good(nights, world):
    night = nights(asleep=False, homeserver=WAKES)
    assert client(world).response().status == 200
    night.home.script = lambda exchange: exchange.respond(401, b'{"errcode":"M_UNKNOWN_TOKEN"}', reason=b"No")
    assert client(world, "unknown").response().status == 401
    night.sleep()
    wait_until("it to be asleep", lambda: night.state() == "asleep")
    assert is_refused(client(world, "unknown"))
    assert is_refused(client(world, "unknown", "/_matrix/media/v3/upload"))
    with world.peer() as peer:
        peer.send(head("GET", SYNC))
        assert is_refused(peer)
    assert night.door.causes("held_refused") == {"denied": 3}
    assert night.door.counted("wake_packets") == 0 and night.state() == "asleep"
    held = client(world, target=SYNC + "?timeout=0")
    night.door.wait_gauge("held_requests_open", 1)
    night.wait_state("waking")
    in_query = world.peer()
    in_query.send(head("GET", f"{SYNC}?access_token={TOKEN}"))
    night.door.wait_gauge("held_requests_open", 2)
    night.home.script = lambda exchange: exchange.respond()
    night.wake()
    assert (held.response().status, in_query.response().status) == (200, 200)
    assert night.door.counted("tokens_learnt") == 1


def test_what_needs_no_token_proves_none(nights, world):
    night = nights(asleep=False, homeserver=WAKES)
    for target in ("/_matrix/client/versions", "/_matrix/client/v3/login", "/_matrix/client/v3/publicRooms"):
        assert client(world, "invented", target).response().status == 200
    assert client(world, "invented", SYNC, "OPTIONS").response("OPTIONS").status == 200
    night.sleep()
    night.wait_state("asleep")
    assert is_refused(client(world, "invented"))
    assert night.door.counted("tokens_learnt") == 0 and night.door.counted("wake_packets") == 0


def test_logged_out_is_unknown_again(nights, world):
    night = nights(asleep=False, homeserver=WAKES)
    assert client(world).response().status == 200
    with world.peer() as peer:
        assert peer.ask(head("POST", "/_matrix/client/v3/logout", f"Authorization: Bearer {TOKEN}",
                             "Content-Length: 0")).status == 200
    night.sleep()
    night.wait_state("asleep")
    assert is_refused(client(world))


def test_tokens_outlive_the_process_and_are_told_nobody(nights, world):
    night = nights(asleep=False, homeserver=WAKES)
    assert client(world).response().status == 200
    assert client(world, f"other{TOKEN}", "/_matrix/client/v3/account/whoami").response().status == 200
    night.sleep()
    night.wait_state("asleep")
    world.close_peers()
    night.restart(signal.SIGTERM)
    night.wait_state("asleep")
    held = client(world)
    night.door.wait_gauge("held_requests_open", 1)
    for name in glob.glob(os.path.join(night.door.directory, "*.log")) + glob.glob(
            os.path.join(night.sections[0][2]["state_dir"], "**"), recursive=True):
        if os.path.isfile(name):
            with open(name, "rb") as content:
                assert b"secretsecret" not in content.read(), name
    night.wake()
    assert held.response().status == 200


# ---- head first, key second, body last ----

def push(sock, data):
    """As much as is taken before nothing moves for a while."""
    sock.settimeout(1.5)
    taken = 0
    try:
        while taken < len(data):
            taken += sock.send(data[taken:taken + 16384])
    except (TimeoutError, socket.timeout):
        pass
    sock.settimeout(30)
    return taken


def big_body(origin, size=900000):
    edu = {"edu_type": "m.direct_to_device", "content": {"x": "y" * 60000}}
    return origin.body(edus=[edu] * (size // 60000))


@pytest.mark.parametrize("change", [
    (b"Authorization: X-Matrix", b"X-Other: X-Matrix"),
    (b'destination="example.org"', b'destination="other.test"'),
    (b'origin="server0.test"', b'origin="no/server"'),
    (b'key="ed25519:k1"', b'key="rsa:k1"'),
], ids=["unsigned", "for-another", "no-server-name", "unknown-algorithm"])
def test_bad_head_is_answered_without_the_body(nights, egon, change):
    night = nights()
    request = egon.request(egon.name_next(), big_body(egon)).replace(*change)
    with egon.peer() as peer:
        peer.send(request[:request.index(b"\r\n\r\n") + 4])  # not a byte of the body
        assert peer.response("PUT").status in (400, 401)
    assert night.door.counted("key_fetches") == 0


def test_body_is_not_read_before_there_is_a_key(nights, egon):
    """The key server is slow: what the peer sends meanwhile stays in the sockets."""
    night, go = nights(), threading.Event()
    body, target = big_body(egon), egon.name_next()
    egon.keys.script = lambda exchange: go.wait(20) and egon.answer(exchange)
    peer = egon.peer()
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    request = egon.request(target, body)
    taken = push(peer.sock, request)
    assert taken < len(request) / 2, f"{taken} of {len(request)} bytes were taken without a key"
    go.set()
    peer.send(request[taken:])
    assert_kept(peer.response("PUT"))
    night.wake()
    assert night.wait_delivered([target])[0].body == body


def test_no_key_no_body(nights, egon):
    """Its key server says no: the body is never read."""
    night, body = nights(), big_body(egon)
    egon.keys.script = lambda exchange: exchange.respond(404, b"{}", reason=b"No")
    with egon.peer() as peer:
        request = egon.request(egon.name_next(), body)
        peer.send(request[:request.index(b"\r\n\r\n") + 4])
        assert peer.response("PUT").status in (401, 503)
    assert night.door.counted("verified") == 0
