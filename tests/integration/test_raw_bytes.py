"""What is signed stays as it is: target, body and Authorization reach the homeserver byte for byte."""

import os

import pytest

from talk import get, head, put

TARGETS = [
    "/_matrix/federation/v1/event/%24abc%2Fdef",
    "/_matrix/federation/v1/event/$abc/def",
    "/_matrix/federation/v1/event/%24abc%2fDEF%2f",
    "/_matrix/federation/v1/event/%2524abc",
    "/_matrix/federation/v1/query/profile?user_id=%40egon%3Atchncs.de&field=displayname",
    "/_matrix/federation/v1/query/profile?user_id=@egon:tchncs.de",
    "/_matrix/federation/v1/query/directory?room_alias=%23testraum%3Asocialnetwork24.com",
    "/_matrix/federation/v1/state/!a:b?event_id=$c&event_id=%24d",
    "/_matrix/federation/v1/state/a//b",
    "/_matrix/federation/v1//state",
    "/_matrix/federation/v1/state/",
    "/_matrix/federation/v1/state?",
    "/_matrix/federation/v1/state??",
    "/_matrix/federation/v1/state?a=1+2&a=%C3%BC&b",
    "/_matrix/federation/v1/state?a=/../..//x",
    "/_matrix/federation/v1/state?url=https://example.org/?x#".rstrip("#"),
    "/_matrix/federation/v1/%zz%",
    "/_matrix/federation/v1/state/'()*,;=:@!$&~-._[]{}|\\^`<>\"",
    "/_matrix/federation/v1/state/a;b=c",
    "/_matrix/federation/v1/state/...",
    "/_matrix/federation/v1/state/.x/..y",
    "/_matrix/federation/v1/state/%F0%9F%9A%AA",
    "/_matrix/federation/unstable/org.matrix.msc9999/a%20b",
    "/_matrix/key/v2/server/",
    "/_matrix/key/v2/query/example.org/ed25519%3A1?minimum_valid_until_ts=123",
    "/_matrix/media/v3/download/example.org/AbC?allow_remote=false",
    "/_matrix/client/v3/rooms/%21a%3Ab/send/m.room.message/%2F",
    "/_matrix/federation/v1/state/" + "a" * 6000,
]


@pytest.mark.parametrize("target", TARGETS, ids=[target[:60] for target in TARGETS])
def test_target(peer, home, target):
    assert peer.ask(get(target)).status == 200
    assert home.requests[0].target == target.encode()


def test_absolute_target_becomes_its_path(peer, home):
    assert peer.ask(get("https://example.org/_matrix/federation/v1/%2f//?a")).status == 200
    assert home.requests[0].target == b"/_matrix/federation/v1/%2f//?a"
    assert home.requests[0].get("host") == b"example.org"


AUTHORIZATIONS = [
    ['X-Matrix origin="a.example",key="ed25519:1",sig="AbC+/",destination="example.org"'],
    ['X-Matrix origin=a.example,key="ed25519:1",sig="A"', 'X-Matrix origin=a.example,key="ed25519:2",sig="B"'],
    ['x-matrix   key=ed25519:a_b , sig = "x==" ,  origin=a.example'],
    ["Bearer syt_YWRhbQ_xyz"],
    ["X-Matrix \xfc\xff"],
    ['X-Matrix a="\\"b\\\\"', "Bearer x", 'X-Matrix c="d"'],
]


@pytest.mark.parametrize("lines", AUTHORIZATIONS, ids=range(len(AUTHORIZATIONS)))
def test_authorization(peer, home, lines):
    assert peer.ask(put("/_matrix/federation/v1/send/1", b"{}", *[f"Authorization: {line}" for line in lines])
                    ).status == 200
    assert home.requests[0].all("authorization") == [line.encode("latin-1") for line in lines]


def test_body(peer, home):
    bodies = [b'{ "b" : 1.0e3 ,"a":"\\u00fc\xc3\xbc", "a": 9007199254740993}\n', b"\xef\xbb\xbf{}", b"\x00\xff" * 999,
              b"", b"  ", os.urandom(70000)]
    for body in bodies:
        assert peer.ask(put("/_matrix/federation/v1/send/1", body)).status == 200
    assert [request.body for request in home.requests] == bodies


def test_answer(peer, home):
    body = b'{"a":1.0,  "a":2}\r\n\x00\xff'
    fields = [(b"X-Odd", b"\xc3\xbc \t x"), (b"Set-Cookie", b"a=b"), (b"Set-Cookie", b"c=d"), (b"ETag", b'"x"'),
              (b"Content-Type", b"application/json; charset=UTF-8")]
    home.script = lambda exchange: exchange.respond(429, body, fields, b"Slow  Down \xfc")
    response = peer.ask(get())
    assert (response.status, response.reason, response.body) == (429, b"Slow  Down \xfc", body)
    for field in fields:
        assert field in response.fields
    assert response.all("set-cookie") == [b"a=b", b"c=d"]


def test_methods(peer, home):
    for method in ("GET", "PUT", "POST", "DELETE", "OPTIONS"):
        assert peer.ask(head(method, "/_matrix/client/v3/x", "Content-Length: 0"), method).status == 200
    assert [request.method for request in home.requests] == [b"GET", b"PUT", b"POST", b"DELETE", b"OPTIONS"]
