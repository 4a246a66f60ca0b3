"""The documents below /.well-known/matrix/, answered by the door."""

import json

import pytest

from talk import assert_cors, assert_error, get, head

SERVER, CLIENT, SUPPORT = (f"/.well-known/matrix/{name}" for name in ("server", "client", "support"))


@pytest.fixture(scope="module")
def door(world, home):
    full = world.domain("full.example", delegate="matrix.full.example:8448")
    bare = world.domain("bare.example", client_url=None)
    alone = world.domain("alone.example", homeserver=None, delegate="elsewhere.example:443", expose=None)
    sections = world.sections(home)
    return world.door([sections[0], full, bare, alone, *sections[2:]])


def ask(world, name, target=SERVER, method="GET", host=None):
    peer = world.peer(name, port=443)
    return peer.ask(head(method, target, host=host or name))


def test_server(world, door, home):
    response = ask(world, "full.example")
    assert response.status == 200
    assert response.get("content-type") == b"application/json"
    assert json.loads(response.body) == {"m.server": "matrix.full.example:8448"}
    assert_cors(response)
    assert b"max-age=" in response.get("cache-control")
    assert not home.requests


def test_client(world, door):
    response = ask(world, "full.example", CLIENT)
    assert response.status == 200 and response.get("content-type") == b"application/json"
    assert json.loads(response.body)["m.homeserver"] == {"base_url": "https://matrix.full.example"}
    assert_cors(response)


def test_without_delegation(world, door):
    for target in (SERVER, CLIENT, SUPPORT):
        assert_error(ask(world, "bare.example", target), 404)


def test_domain_without_a_homeserver(world, door):
    assert json.loads(ask(world, "alone.example").body) == {"m.server": "elsewhere.example:443"}
    assert_error(ask(world, "alone.example", "/_matrix/federation/v1/version"), 404)


def test_other_documents(world, door):
    assert_error(ask(world, "full.example", "/.well-known/matrix/other"), 404)
    assert_error(ask(world, "full.example", "/.well-known/matrix/server/x"), 404)


def test_query_is_ignored(world, door):
    assert ask(world, "full.example", SERVER + "?x=1").status == 200


def test_head(world, door):
    full, short = ask(world, "full.example"), ask(world, "full.example", method="HEAD")
    assert short.status == 200 and short.body == b""
    assert short.get("content-length") == full.get("content-length")


def test_preflight(world, door, home):
    response = ask(world, "full.example", method="OPTIONS")
    assert response.status in (200, 204)
    assert_cors(response)
    assert b"GET" in response.get("access-control-allow-methods")
    assert not home.requests


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_other_methods(world, door, method):
    peer = world.peer("full.example", port=443)
    assert_error(peer.ask(head(method, SERVER, "Content-Length: 0", host="full.example"), "GET"), 405)


def test_also_on_8448(world, door):
    peer = world.peer("full.example", port=8448)
    assert peer.ask(get(SERVER, host="full.example")).status == 200
