"""Answers that the homeserver gave before: given again while it is away, and while they are fresh.

The homeserver is a script that counts what reaches it; other servers sign what they ask.
"""

import json
import signal

import pytest

from remote import Remote, synapse
from support.http1 import Cut
from support.matrix import Signer, now_ms
from support.process import wait_until
from support.raw import Peer
from talk import assert_error, get, head, post
from test_control_queue import House
from test_sleeping import Night, Origin

OURS = "example.org"
F1 = "/_matrix/federation/v1"
VERSION, KEYS = f"{F1}/version", "/_matrix/key/v2/server"
PROFILE = f"{F1}/query/profile?user_id=%40adam%3Aexample.org"
ALIAS = f"{F1}/query/directory?room_alias=%23room%3Aexample.org"
MEDIA, THUMB = f"{F1}/media/download/abcDEF", f"{F1}/media/thumbnail/abcDEF?width=32&height=32&method=crop"
OLD, OLD_THUMB = "/_matrix/media/v3/download/example.org/abcDEF", "/_matrix/media/r0/thumbnail/example.org/abcDEF?width=3"
VERSIONS = "/_matrix/client/versions"
ROOMS, SPACE = f"{F1}/publicRooms?limit=5", f"{F1}/hierarchy/%21space%3Aexample.org"
DEVICES, QUERY = f"{F1}/user/devices/%40adam%3Aexample.org", f"{F1}/user/keys/query"
JSON = (b"Content-Type", b"application/json")
SIGNER = Signer(OURS)


def key_document(valid_ms=86400000, name=OURS, signer=SIGNER):
    value = {"server_name": name, "valid_until_ts": now_ms() + valid_ms, "old_verify_keys": {},
             "verify_keys": {signer.key_id: {"key": signer.public}}}
    return json.dumps(signer.sign_json(value), indent=1).encode()


def two_parts(content=b"the bytes", location=None, last=b"--"):
    second = b"Location: https://cdn.example.org/x\r\n\r\n" if location else b"Content-Type: image/png\r\n\r\n" + content
    return ([(b"Content-Type", b"multipart/mixed; boundary=gc0p4Jq0M2Yt08jU534c0p")],
            b"--gc0p4Jq0M2Yt08jU534c0p\r\nContent-Type: application/json\r\n\r\n{}\r\n"
            b"--gc0p4Jq0M2Yt08jU534c0p\r\n" + second + b"\r\n--gc0p4Jq0M2Yt08jU534c0p" + last)


class Book:
    """What the homeserver answers, by target, and how often it was asked."""

    def __init__(self, home):
        self.home, self.pages = home, {}

    def script(self, exchange):
        body = exchange.read_body()
        page = self.pages.get(exchange.request.target.decode())
        if callable(page):
            page = page(exchange, body)
        if page is None:
            exchange.respond(404, b'{"errcode":"M_NOT_FOUND"}', reason=b"Not Found")
        elif page != "done":
            fields, answer = page
            exchange.respond(200, answer, fields)

    def write(self, target, answer=None, fields=(JSON,)):
        self.pages[target] = (list(fields), answer or b'{"page": "%s"}' % target.encode())

    def asked(self, target):
        """By others: doorstep itself asks for the version when it comes back."""
        return sum(request.target.decode() == target and request.get("x-forwarded-for") is not None
                   for request in list(self.home.requests))


@pytest.fixture
def book(home):
    made = Book(home)
    for target in (VERSION, PROFILE, ALIAS, ROOMS, SPACE, VERSIONS, DEVICES):
        made.write(target)
    made.pages[KEYS] = ([JSON], key_document())
    made.pages[MEDIA], made.pages[THUMB] = two_parts(b"\r\n--x\r\n" * 30000), two_parts(b"thumb")
    for target in (OLD, OLD_THUMB):
        made.write(target, b"\x89PNG" * 500, [(b"Content-Type", b"image/png"), (b"Access-Control-Allow-Origin", b"*"),
                                              (b"Content-Disposition", b"inline"), (b"X-Secret", b"no")])
    return made


@pytest.fixture(scope="module")
def others(world):
    return [Origin(world, f"server{number}.test", 40 + number) for number in range(2)]


@pytest.fixture
def egon(others):
    for origin in others:
        origin.keys.script = origin.answer
    return others[0]


@pytest.fixture
def paul(egon, others):
    return others[egon is not None]


def maker(kind, world, home, own_door, book, request, made):
    def make(asleep=False, **options):
        home.script = book.script
        state = world.path(f"answers-{request.node.name[:20]}-{len(made)}".replace("[", "-").replace("]", ""))
        options["homeserver"] = {"repeat_answers": "1", **options.get("homeserver", {})}
        made.append(kind(world, home, own_door, state, **options))
        return made[-1].start(asleep)
    return make


@pytest.fixture
def nights(world, home, own_door, book, request):
    """nights(...) starts a door for this test, the homeserver awake unless told otherwise."""
    made = []
    yield maker(Night, world, home, own_door, book, request, made)
    world.close_peers()
    for night in made:
        if not night.is_on:
            night.wake()


@pytest.fixture
def houses(world, home, own_door, book, request):
    """Ditto, with the homeserver's listener."""
    made = []
    yield maker(House, world, home, own_door, book, request, made)
    world.close_peers()
    for house in made:
        if not house.is_on:
            house.wake()


def fall_asleep(night):
    night.sleep()
    night.wait_state("asleep")


def assert_page(response, page):
    fields, body = page
    assert (response.status, response.body) == (200, body)
    assert response.get("content-type") == dict(fields)[b"Content-Type"]


def assert_held(night, who, request):
    """It is not known: the request waits for the homeserver, which might be back soon. Whoever asks gives up."""
    with who.peer() as peer:
        peer.send(request)
        night.door.wait_gauge("held_requests_open", 1)
    night.door.wait_gauge("held_requests_open", 0)


def is_kept(response):
    return response.get("age") is not None


OPEN = [VERSION, KEYS, OLD, OLD_THUMB, VERSIONS]
SIGNED = [PROFILE, ALIAS, MEDIA, THUMB]
MINE = [ROOMS, SPACE]  # answers differ by who asks


# ---- while it is away ----

@pytest.mark.parametrize("target", OPEN)
def test_open_while_away(nights, world, book, target):
    night, page = nights(), book.pages[target]
    assert_page(world.peer().ask(get(target)), page)
    assert night.door.counted("answers_taken") == 1
    fall_asleep(night)
    response = world.peer().ask(get(target))
    assert_page(response, page)
    assert is_kept(response) and response.get("x-secret") is None
    response = world.peer().ask(head("HEAD", target))
    assert (response.status, response.body) == (200, b"")
    assert int(response.get("content-length")) == len(page[1])
    assert night.door.counted("answers_asleep") == 2
    assert book.asked(target) == 1


@pytest.mark.parametrize("target", SIGNED)
def test_signed_while_away(nights, world, book, egon, paul, target):
    """For whoever asks, once his signature was checked."""
    night, page = nights(), book.pages[target]
    assert_page(egon.peer().ask(egon.get(target)), page)
    fall_asleep(night)
    response = egon.peer().ask(egon.get(target))
    assert_page(response, page)
    assert is_kept(response)
    assert_page(paul.peer().ask(paul.get(target)), page)
    assert night.door.counted("answers_asleep") == 2
    assert_error(world.peer().ask(get(target)), 401)
    forged = egon.get(target).replace(b'sig="', b'sig="AAAA')
    assert_error(egon.peer().ask(forged), 401)
    assert_error(egon.peer().ask(egon.request(target, b"", method="GET", destination="other.test")), 401)
    assert night.door.counted("answers_asleep") == 2 and book.asked(target) == 1


@pytest.mark.parametrize("target", MINE)
def test_each_his_own_while_away(nights, book, egon, paul, target):
    night, page = nights(), book.pages[target]
    assert_page(egon.peer().ask(egon.get(target)), page)
    fall_asleep(night)
    assert_page(egon.peer().ask(egon.get(target)), page)
    assert_held(night, paul, paul.get(target))
    assert night.door.counted("answers_asleep") == 1


def test_room_list_by_the_body(nights, book, egon):
    night, target = nights(), f"{F1}/publicRooms"
    book.pages[target] = lambda _, body: ([JSON], b'{"asked":%s}' % body)
    bodies = [b'{"limit":1}', b'{"limit":2}']
    for body in bodies:
        egon.peer().ask(egon.request(target, body, method="POST"))
    fall_asleep(night)
    for body in bodies:
        response = egon.peer().ask(egon.request(target, body, method="POST"))
        assert (response.status, response.body) == (200, b'{"asked":%s}' % body)
    assert_held(night, egon, egon.request(target, b'{"limit":3}', method="POST"))
    assert night.door.counted("answers_asleep") == 2


def test_an_id_has_many_spellings(nights, book, egon):
    night = nights()
    egon.peer().ask(egon.get(PROFILE))
    fall_asleep(night)
    for spelled in ("@adam:example.org", "%40adam:example.org", "%40ada%6D%3Aexample.org"):
        assert_page(egon.peer().ask(egon.get(f"{F1}/query/profile?user_id={spelled}")), book.pages[PROFILE])


@pytest.mark.parametrize("more", ["&field=displayname", "&x=1", "&user_id=%40adam%3Aexample.org", "&field="])
def test_another_question_is_another(nights, egon, more):
    night = nights()
    egon.peer().ask(egon.get(PROFILE))
    fall_asleep(night)
    assert_held(night, egon, egon.get(PROFILE + more))


def test_nothing_about_others(nights, world, book):
    """The homeserver has media of other servers, too; these are not ours to keep."""
    night, target = nights(), "/_matrix/media/v3/download/server0.test/abcDEF"
    book.write(target)
    assert world.peer().ask(get(target)).status == 200
    assert night.door.counted("answers_taken") == 0


def test_versions_of_a_user_are_not_kept(nights, world, book):
    """With a token the answer may say what this user may do."""
    night, token = nights(), "Authorization: Bearer abc"
    assert world.peer().ask(get(VERSIONS, token)).status == 200
    assert night.door.counted("answers_taken") == 0
    assert_page(world.peer().ask(get(VERSIONS)), book.pages[VERSIONS])
    fall_asleep(night)
    assert world.peer().ask(get(VERSIONS)).status == 200
    assert_held(night, world, get(VERSIONS, token))


@pytest.mark.parametrize("name, kept", [(OURS, True), ("example.com", False)])
def test_notary_about_itself(nights, world, book, name, kept):
    night = nights()
    world.peer().ask(get(KEYS))
    fall_asleep(night)
    response = world.peer().ask(get(f"/_matrix/key/v2/query/{name}?minimum_valid_until_ts=1"))
    assert response.status == 200
    expected = b'{"server_keys":[%s]}' % (book.pages[KEYS][1] if kept else b"")
    assert response.body == expected
    asked = json.dumps({"server_keys": {"example.net": {}, name: {}}}).encode()
    response = world.peer().ask(post("/_matrix/key/v2/query", asked))
    assert (response.status, response.body) == (200, expected)
    for odd in (b"{", b"[]", b'{"server_keys":[]}'):
        assert world.peer().ask(post("/_matrix/key/v2/query", odd)).body == b'{"server_keys":[]}'


def test_found_out_only_now(nights, world, home, book, egon):
    """The first to notice that it is gone gets the answer, too."""
    night = nights(homeserver={"probe_interval": "1h", "repeat_answers": "0"})
    world.peer().ask(get(KEYS))
    egon.peer().ask(egon.get(PROFILE))
    night.sleep()
    assert_page(world.peer().ask(get(KEYS)), book.pages[KEYS])
    assert_page(egon.peer().ask(egon.get(PROFILE)), book.pages[PROFILE])
    assert night.door.counted("answers_asleep") == 2


def test_what_it_says_last_counts(nights, book, egon):
    night = nights(homeserver={"repeat_answers": "0"})
    for name in (b"Adam", b"Bdam"):
        book.write(PROFILE, b'{"displayname":"%s"}' % name)
        egon.peer().ask(egon.get(PROFILE))
    fall_asleep(night)
    assert egon.peer().ask(egon.get(PROFILE)).body == b'{"displayname":"Bdam"}'


# ---- what is not kept ----

@pytest.mark.parametrize("page", [
    two_parts(location=True), two_parts(last=b""), two_parts(last=b"\r\n\r\nmore\r\n--gc0p4Jq0M2Yt08jU534c0p--"),
    ([JSON], b"{}"), ([(b"Content-Type", b"multipart/mixed")], two_parts()[1]),
], ids=["location", "no-end", "three-parts", "json", "no-boundary"])
def test_incomplete_media(nights, book, egon, page):
    night = nights()
    book.pages[MEDIA] = page
    assert_page(egon.peer().ask(egon.get(MEDIA)), page)
    assert night.door.counted("answers_taken") == 0 and night.door.gauge("answers_bytes") == 0


def test_cut_answer(nights, world, home, book, egon):
    night = nights()
    fields, body = two_parts(b"x" * 100000)

    def cut(exchange, _):
        exchange.send(b"HTTP/1.1 200 OK\r\n%s: %s\r\nContent-Length: %d\r\n\r\n" % (*fields[0], len(body)) + body[:-10])
        exchange.reset()
        return "done"

    book.pages[MEDIA] = cut
    with pytest.raises(Cut):
        egon.peer().ask(egon.get(MEDIA))
    assert night.door.counted("answers_taken") == 0 and night.door.gauge("answers_bytes") == 0


@pytest.mark.parametrize("fields, status", [
    ([(b"Cache-Control", b"private")], 200), ([(b"Set-Cookie", b"a=b")], 200), ([(b"Vary", b"Origin")], 200),
    ([(b"Content-Encoding", b"gzip")], 200), ([], 404), ([], 500),
], ids=["private", "cookie", "vary", "encoded", "404", "500"])
def test_answers_that_are_not_for_all(nights, world, book, fields, status):
    night = nights()

    def page(exchange, _):
        exchange.respond(status, b"{}", [JSON, *fields], b"So")
        return "done"

    book.pages[VERSION] = page
    assert world.peer().ask(get(VERSION)).status == status
    assert night.door.counted("answers_taken") == 0


@pytest.mark.parametrize("document", [
    key_document(name="example.com"), key_document().replace(b"valid_until_ts\": 1", b"valid_until_ts\": 2"), b"{}",
], ids=["another", "altered", "empty"])
def test_keys_that_are_none(nights, world, book, document):
    night = nights()
    book.pages[KEYS] = ([JSON], document)
    assert world.peer().ask(get(KEYS)).body == document
    assert night.door.counted("answers_taken") == 0


def test_asked_with_a_range(nights, world):
    night = nights()
    world.peer().ask(get(VERSION, "Range: bytes=0-1"))
    assert night.door.counted("answers_taken") == 0


# ---- while it is there ----

@pytest.mark.parametrize("target", OPEN)
def test_fresh(nights, world, book, target):
    night, peer = nights(), world.peer()
    for count in range(4):
        response = peer.ask(get(target))
        assert_page(response, book.pages[target])
        assert is_kept(response) == (count > 0)
    assert book.asked(target) == 1
    assert night.door.counted("answers_fresh") == 3


def test_fresh_media_for_whom_is_verified(nights, world, book, egon, paul):
    """Never before the signature was checked; what does not verify the homeserver judges."""
    night, page = nights(), book.pages[MEDIA]
    for origin in (egon, egon, paul):
        assert_page(origin.peer().ask(origin.get(MEDIA)), page)
    assert book.asked(MEDIA) == 1 and night.door.counted("answers_fresh") == 2
    for count, question in enumerate((get(MEDIA), egon.get(MEDIA).replace(b'sig="', b'sig="AAAA'),
                                      egon.request(MEDIA, b"", method="GET", destination="other.test")), 2):
        response = world.peer().ask(question)
        assert not is_kept(response)
        assert book.asked(MEDIA) == count


@pytest.mark.parametrize("said, times", [
    (b"no-store", 3), (b"no-cache", 3), (b"max-age=0", 3), (b"public, max-age=86400, s-maxage=0, proxy-revalidate", 3),
    (b"private, max-age=60", 3), (b"max-age=60", 1), (b"public", 1), (b"s-maxage=60", 1),
])
def test_cache_control(nights, world, book, said, times):
    nights()
    book.write(VERSION, fields=[JSON, (b"Cache-Control", said)])
    for _ in range(3):
        assert_page(world.peer().ask(get(VERSION)), book.pages[VERSION])
    assert book.asked(VERSION) == times


@pytest.mark.parametrize("target", [PROFILE, ALIAS, *MINE])
@pytest.mark.parametrize("said, times", [(None, 3), (b"max-age=60", 1)])
def test_what_changes_is_fresh_only_if_it_says_so(nights, book, egon, paul, target, said, times):
    nights()
    if said:
        book.write(target, fields=[JSON, (b"Cache-Control", said)])
    for _ in range(3):
        assert_page(egon.peer().ask(egon.get(target)), book.pages[target])
    assert book.asked(target) == times
    paul.peer().ask(paul.get(target))
    assert book.asked(target) == times + (said is None or target in MINE)


@pytest.mark.parametrize("field", ["Cache-Control: no-cache", "Pragma: no-cache", 'If-None-Match: "x"', "Range: bytes=0-1",
                                   "Cookie: a=b"])
def test_the_asker_wants_it_from_the_homeserver(nights, world, book, field):
    nights()
    for _ in range(2):
        world.peer().ask(get(VERSION))
        world.peer().ask(get(VERSION, field))
    assert book.asked(VERSION) == 3


@pytest.mark.parametrize("valid_ms, times", [(86400000, 1), (-1000, 2)])
def test_keys_are_fresh_as_long_as_they_say(nights, world, book, valid_ms, times):
    """Expired ones are still the true answer when nobody is there to give another."""
    night = nights()
    book.pages[KEYS] = ([JSON], key_document(valid_ms))
    for _ in range(2):
        assert_page(world.peer().ask(get(KEYS)), book.pages[KEYS])
    assert book.asked(KEYS) == times
    fall_asleep(night)
    assert_page(world.peer().ask(get(KEYS)), book.pages[KEYS])


def test_switched_off(nights, world, book):
    night = nights(homeserver={"repeat_answers": "0"})
    for _ in range(2):
        world.peer().ask(get(VERSION))
    assert book.asked(VERSION) == 2 and night.door.counted("answers_fresh") == 0
    fall_asleep(night)
    assert_page(world.peer().ask(get(VERSION)), book.pages[VERSION])


def test_no_memory_for_it(nights, world, book):
    night = nights(limits={"answers_bytes": "0"})
    for _ in range(2):
        world.peer().ask(get(VERSION))
    assert book.asked(VERSION) == 2 and night.door.counted("answers_taken") == 0
    fall_asleep(night)
    assert_held(night, world, get(VERSION))


def test_without_sleep(world, home, own_door, book):
    """A homeserver that never sleeps."""
    home.script = book.script
    door = own_door([world.main(), world.domain(), ("homeserver", "nas", {"url": world.url_of(home), "sleeps": "0"}),
                     *world.listens()])
    for _ in range(3):
        assert_page(world.peer().ask(get(KEYS)), book.pages[KEYS])
    assert book.asked(KEYS) == 1 and door.counted("answers_fresh") == 2


def test_peers_that_leave(nights, world, book, egon):
    """Held by those who do not read, and let go of when they are gone."""
    night = nights()
    book.pages[MEDIA] = two_parts(b"x" * 200000)
    egon.peer().ask(egon.get(MEDIA))
    for _ in range(3):
        peer = world.keep(Peer((world.address(1), 8448), world.client_context(), OURS, window=4096))
        peer.send(egon.get(MEDIA))
        peer.reader.take(1000)
        peer.reset()
    night.door.wait_gauge("inbound_requests_open", 0)
    assert night.door.counted("answers_fresh") == 3
    assert_page(egon.peer().ask(egon.get(MEDIA)), book.pages[MEDIA])


# ---- devices ----

EVA = "@eva:example.org"
ADAM = "@adam:example.org"
PARTS = {ADAM: {"device_keys": {"A1": {"unsigned": {"x": 1}, "n": 10}, "A2": {"é": "\\u00e9"}},
                "master_keys": {"usage": ["master"]}, "self_signing_keys": {"usage": ["self_signing"]}},
         EVA: {"device_keys": {"E1": {"b": 1, "a": 2}}}}


def answer_query(_, body):
    asked, answer = json.loads(body)["device_keys"], {"device_keys": {}, "master_keys": {}}
    for user, devices in asked.items():
        for member, part in PARTS.get(user, {}).items():
            if member == "device_keys" and devices:
                part = {name: part[name] for name in devices if name in part}
            answer.setdefault(member, {})[user] = part
    return [JSON], json.dumps(answer, indent=2).encode()


def query(origin, asked):
    return origin.peer().ask(origin.request(QUERY, json.dumps({"device_keys": asked}).encode(), method="POST"))


def update(user, kind="m.device_list_update"):
    return json.dumps({"origin": OURS, "pdus": [], "edus": [
        {"content": {"user_id": user, "device_id": "X", "stream_id": 7}, "edu_type": kind}]}).encode()


@pytest.fixture(scope="module")
def friend(world):
    return Remote(world, "friend.test", 60)


def sends(house, body, to="friend.test", **options):
    with house.world.plain_peer() as peer:
        return peer.ask(synapse(to, f"{F1}/send/{now_ms()}", method="PUT", body=body, **options))


@pytest.fixture
def home_of_adam(houses, book, egon, friend):
    """A house whose homeserver sends through it, and has answered questions about devices."""
    book.pages[QUERY] = answer_query
    house = houses()
    assert sends(house, b'{"pdus":[]}').status == 200
    house.ask_all = lambda: (query(egon, {ADAM: [], EVA: []}), egon.peer().ask(egon.get(DEVICES)))
    assert [response.status for response in house.ask_all()] == [200, 200]
    assert house.door.counted("answers_taken") == 3
    house.home.take()
    return house


def announce(house):
    assert house.post("/_doorstep/sleep?force=1")[0] == 200
    house.wait_state("asleep")
    house.sleep()


def assert_refused(response):
    assert_error(response, response.status)
    assert response.status not in (200, 404)


def test_devices_while_it_sleeps(home_of_adam, book, egon, paul):
    announce(home_of_adam)
    assert_page(paul.peer().ask(paul.get(DEVICES)), book.pages[DEVICES])
    for asked in ({ADAM: []}, {EVA: []}, {ADAM: [], EVA: []}, {ADAM: ["A2", "none"]}, {EVA: [], ADAM: ["A1"]}):
        response = query(egon, asked)
        assert response.status == 200 and response.get("content-type") == b"application/json"
        expected = json.loads(answer_query(None, json.dumps({"device_keys": asked}).encode())[1])
        expected.setdefault("self_signing_keys", {})
        assert json.loads(response.body) == expected
    assert not home_of_adam.home.requests


def test_an_unknown_user_spoils_it(home_of_adam, egon):
    """An answer without him would say that he has no devices."""
    announce(home_of_adam)
    for asked in ({ADAM: [], "@new:example.org": []}, {"@adam:other.test": []}, {}, {ADAM: 1}):
        assert_refused(query(egon, asked))
    assert query(egon, {ADAM: []}).status == 200


def test_devices_need_its_word(home_of_adam, egon):
    """It may be out of reach for us only, and in use by those at home."""
    fall_asleep(home_of_adam)
    assert_held(home_of_adam, egon, egon.get(DEVICES))
    assert_held(home_of_adam, egon, egon.request(QUERY, b'{"device_keys":{"%s":[]}}' % ADAM.encode(), method="POST"))


@pytest.mark.parametrize("kind", ["m.device_list_update", "m.signing_key_update"])
def test_a_change_is_seen(home_of_adam, egon, kind):
    assert sends(home_of_adam, update(ADAM, kind)).status == 200
    assert home_of_adam.door.counted("answers_invalidated") == 2
    announce(home_of_adam)
    assert_refused(query(egon, {ADAM: []}))
    assert_refused(query(egon, {ADAM: [], EVA: []}))
    assert_refused(egon.peer().ask(egon.get(DEVICES)))
    assert query(egon, {EVA: []}).status == 200


def test_a_change_is_seen_though_nobody_is_told(home_of_adam, egon):
    """The server that should hear of it does not exist."""
    home_of_adam.world.dns.add("gone.test", "A", home_of_adam.world.address(77))
    assert sends(home_of_adam, update(ADAM), to="gone.test").status >= 400
    announce(home_of_adam)
    assert_refused(query(egon, {ADAM: []}))
    assert query(egon, {EVA: []}).status == 200


def test_a_change_told_to_a_name_served_here(home_of_adam, egon):
    """It does not leave the house, but it is seen."""
    sends(home_of_adam, update(ADAM), to=OURS)
    announce(home_of_adam)
    assert_refused(query(egon, {ADAM: []}))
    assert query(egon, {EVA: []}).status == 200


@pytest.mark.parametrize("body", [b"{", b'{"edus":[{"edu_type":"m.device_list_update"}]}'], ids=["broken", "nobody"])
def test_what_is_not_understood_may_be_a_change(home_of_adam, egon, body):
    sends(home_of_adam, body, authorization=['X-Matrix origin="example.org"'])
    announce(home_of_adam)
    assert_refused(query(egon, {EVA: []}))


def test_other_updates_change_nothing(home_of_adam, egon):
    sends(home_of_adam, update(ADAM, "m.typing"))
    assert home_of_adam.door.counted("answers_invalidated") == 0
    announce(home_of_adam)
    assert query(egon, {ADAM: []}).status == 200


def test_changed_while_the_answer_was_on_its_way(home_of_adam, book, egon):
    """It may be of before the change."""
    def late(_, body):
        assert sends(home_of_adam, update(EVA)).status == 200
        return answer_query(None, body)

    book.pages[QUERY] = late
    assert query(egon, {ADAM: [], EVA: []}).status == 200
    announce(home_of_adam)
    assert_refused(query(egon, {EVA: []}))


def test_devices_are_not_fresh_while_it_is_there(home_of_adam, book):
    home_of_adam.ask_all()
    assert book.asked(QUERY) == 1 and book.asked(DEVICES) == 1


def test_devices_need_its_requests(houses, book, egon):
    """It sends nothing through us: then changes are not seen."""
    book.pages[QUERY] = answer_query
    house = houses()
    assert query(egon, {ADAM: []}).status == 200
    assert house.door.counted("answers_taken") == 0
    announce(house)
    assert_refused(query(egon, {ADAM: []}))


def test_devices_do_not_outlive_a_reload(home_of_adam, egon):
    home_of_adam.door.reload()
    announce(home_of_adam)
    assert_refused(query(egon, {ADAM: []}))


# ---- bounds ----

def test_many_media(nights, world, book, egon):
    """Others go; keys and versions stay, and the ceiling holds."""
    night = nights()
    for target in (KEYS, VERSION):
        world.peer().ask(get(target))
    peer = egon.peer()
    for number in range(60):
        target = f"{F1}/media/download/m{number}"
        book.pages[target] = two_parts(b"%d" % (number % 10) * 100000)
        assert peer.ask(egon.get(target)).status == 200
    gauge = night.door.status()["gauges"]["answers_bytes"]
    assert gauge["limit"] == 1024 * 1024 and gauge["peak"] <= gauge["limit"]
    assert gauge["used"] > gauge["limit"] // 2
    assert night.door.counted("answers_dropped") >= 50
    fall_asleep(night)
    for target in (KEYS, VERSION):
        assert world.peer().ask(get(target)).status == 200
    assert egon.peer().ask(egon.get(f"{F1}/media/download/m59")).status == 200
    assert_held(night, egon, egon.get(f"{F1}/media/download/m0"))


def test_too_large_for_it(nights, book, egon):
    night = nights()
    book.pages[MEDIA] = two_parts(b"x" * 300000)

    def chunked(exchange, _):
        fields, body = two_parts(b"y" * 300000)
        exchange.send(b"HTTP/1.1 200 OK\r\n%s: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % fields[0])
        for at in range(0, len(body), 10000):
            piece = body[at:at + 10000]
            exchange.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        exchange.send(b"0\r\n\r\n")
        return "done"

    book.pages[THUMB] = chunked
    for target in (MEDIA, THUMB):
        assert egon.peer().ask(egon.get(target)).status == 200
    assert night.door.counted("answers_taken") == 0 and night.door.gauge("answers_bytes") == 0


def test_chunked_is_kept(nights, book, egon):
    night, (fields, body) = nights(), two_parts(b"z" * 50000)

    def chunked(exchange, _):
        exchange.send(b"HTTP/1.1 200 OK\r\n%s: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % fields[0])
        for at in range(0, len(body), 777):
            piece = body[at:at + 777]
            exchange.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        exchange.send(b"0\r\n\r\n")
        return "done"

    book.pages[MEDIA] = chunked
    assert egon.peer().ask(egon.get(MEDIA)).body == body
    fall_asleep(night)
    assert_page(egon.peer().ask(egon.get(MEDIA)), (fields, body))


def test_reload_with_less(nights, world, book, egon):
    night = nights()
    for number in range(5):
        target = f"{F1}/media/download/m{number}"
        book.pages[target] = two_parts(b"x" * 100000)
        egon.peer().ask(egon.get(target))
    assert night.door.gauge("answers_bytes") > 500000
    night.sections[-1][2]["answers_bytes"] = "256K"
    night.door.write_config(night.sections)
    night.door.reload()
    assert night.door.gauge("answers_bytes") <= 256 * 1024


# ---- across a restart ----

def test_outlive_a_restart(nights, world, book, egon):
    night = nights()
    kept = [VERSION, KEYS, VERSIONS]
    for target in kept:
        world.peer().ask(get(target))
    for target in (PROFILE, ALIAS, MEDIA):
        egon.peer().ask(egon.get(target))
    assert night.door.counted("answers_saved") == 5
    night.sleep()
    night.restart(signal.SIGTERM)
    night.wait_state("asleep")
    for target in kept:
        response = world.peer().ask(get(target))
        assert_page(response, book.pages[target])
        assert is_kept(response)
    for target in (PROFILE, ALIAS):
        assert_page(egon.peer().ask(egon.get(target)), book.pages[target])
    assert_held(night, egon, egon.get(MEDIA))


def test_recalled_is_not_fresh(nights, world, book):
    """How long it was away from us nobody knows."""
    night = nights()
    world.peer().ask(get(VERSION))
    night.restart(signal.SIGTERM)
    night.wait_awake()
    for _ in range(2):
        world.peer().ask(get(VERSION))
    assert book.asked(VERSION) == 2


def test_what_says_nothing_new_is_not_written(nights, world, book, egon):
    """Flash wears out."""
    night = nights(homeserver={"repeat_answers": "0"})
    for number in range(5):
        world.peer().ask(get(VERSION, "X-Number: %d" % number))
        egon.peer().ask(egon.get(PROFILE))
    assert night.door.counted("answers_taken") == 10 and night.door.counted("answers_saved") == 2
    night.restart(signal.SIGTERM)
    night.wait_awake()
    world.peer().ask(get(VERSION))
    assert night.door.counted("answers_saved") == 0, "nor is what an earlier process wrote"
    book.write(VERSION, b'{"new":1}')
    world.peer().ask(get(VERSION))
    assert night.door.counted("answers_saved") == 1
