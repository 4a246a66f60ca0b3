"""What one server may ask another without sharing a room: profiles, aliases, public rooms."""

from urllib.parse import quote

import pytest

from .client import ApiError


def test_profile(adam, egon, out, back):
    for owner, asker, crossing in ((adam, egon, back), (egon, adam, out)):
        avatar = owner.upload(b"face", "image/png")
        owner.set_profile("displayname", f"{owner.user_id[1:5].title()} der Große")
        owner.set_profile("avatar_url", avatar)
        with crossing():
            profile = asker.profile(owner.user_id)
        assert profile["displayname"] == f"{owner.user_id[1:5].title()} der Große"
        assert profile["avatar_url"] == avatar


def test_profile_of_nobody(egon, home, back):
    with back():
        with pytest.raises(ApiError) as caught:
            egon.profile(home.user("niemand"))
    assert caught.value.status == 404


def test_alias(egon, testraum, back):
    with back():
        found = egon.call("GET", "/_matrix/client/v3/directory/room/" + quote("#testraum:socialnetwork24.com"))
    assert found["room_id"] == testraum


def test_public_rooms(egon, testraum, home, back):
    with back():
        rooms = egon.call("GET", "/_matrix/client/v3/publicRooms", query={"server": home.server_name})["chunk"]
    found = next(room for room in rooms if room["room_id"] == testraum)
    assert (found["canonical_alias"], found["topic"]) == ("#testraum:socialnetwork24.com", "Türen testen")


def test_public_rooms_search(egon, testraum, home, back):
    """The POST form, with a body that is signed."""
    with back():
        found = egon.call("POST", "/_matrix/client/v3/publicRooms", query={"server": home.server_name}, body={
            "limit": 5, "filter": {"generic_search_term": "türen"}})["chunk"]
    assert [room["room_id"] for room in found] == [testraum]


def test_space_hierarchy(adam, egon, home, back):
    room = adam.create(preset="public_chat", name="Zimmer")
    space = adam.create(preset="public_chat", name="Haus", creation_content={"type": "m.space"}, initial_state=[{
        "type": "m.space.child", "state_key": room, "content": {"via": [home.server_name]}}])
    with back():
        egon.join(space, via=home.server_name)
        found = egon.call("GET", f"/_matrix/client/v1/rooms/{quote(space, safe='')}/hierarchy")["rooms"]
    assert {entry["name"] for entry in found} == {"Haus", "Zimmer"}
