"""What end-to-end encryption needs from federation: keys, one-time keys, to-device messages.

The texts are opaque to servers, so plausible base64 does; nothing here encrypts.
"""

import base64
import os

import pytest


def key():
    return base64.b64encode(os.urandom(32)).decode().rstrip("=")


def signed(client, fields):
    signature = base64.b64encode(os.urandom(64)).decode().rstrip("=")
    return {**fields, "signatures": {client.user_id: {f"ed25519:{client.device_id}": signature}}}


def publish(client, one_time_keys):
    """Uploads device keys and one-time keys, as a client does once at its start."""
    device = signed(client, {
        "user_id": client.user_id, "device_id": client.device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {f"{kind}:{client.device_id}": key() for kind in ("ed25519", "curve25519")}})
    spare = {f"signed_curve25519:AAAA{number}": signed(client, {"key": key()}) for number in range(one_time_keys)}
    client.call("POST", "/_matrix/client/v3/keys/upload", {"device_keys": device, "one_time_keys": spare})
    return device, spare


@pytest.fixture(scope="module")
def published(testraum, adam, egon):
    return {client.user_id: publish(client, 3) for client in (adam, egon)}


def query_once(client, other):
    answer = client.call("POST", "/_matrix/client/v3/keys/query", {"device_keys": {other.user_id: []}})
    return answer["device_keys"].get(other.user_id, {}), answer["failures"]


def query(client, other):
    """The other's devices. Nothing may fail."""
    devices, failures = query_once(client, other)
    assert not failures
    return devices


def knows(client, other):
    """Does a query name the other's device? As a client does, asks again after a failure.

    Synapse reports one (503, "'devices'") when its own refresh of the same list finishes in between:
    the second refresh finds the list cached and returns it in another form than its caller reads.
    """
    devices, failures = query_once(client, other)
    return other.device_id in devices and not failures


def claim(client, other):
    answer = client.call("POST", "/_matrix/client/v3/keys/claim", {
        "one_time_keys": {other.user_id: {other.device_id: "signed_curve25519"}}})
    assert not answer["failures"]
    return answer["one_time_keys"].get(other.user_id, {}).get(other.device_id, {})


def test_device_keys(adam, egon, published):
    for client, other in ((adam, egon), (egon, adam)):
        client.wait_for("the other's device keys", lambda c=client, o=other: knows(c, o))
        got = query(client, other)[other.device_id]
        assert got["keys"] == published[other.user_id][0]["keys"]
        assert got["signatures"] == published[other.user_id][0]["signatures"]


def test_device_keys_of_a_stranger(home, away, adam, back):
    """No shared room, so nothing is cached: the query itself crosses."""
    stranger = away.synapse.register("stranger")
    friend = home.synapse.register("friend")
    device, _ = publish(friend, 1)
    with back():
        assert query(stranger, friend)[friend.device_id]["keys"] == device["keys"]


def test_one_time_keys_are_given_once(adam, egon, published, out):
    with out():
        claimed = [claim(adam, egon) for _ in range(4)]
    spare = published[egon.user_id][1]
    names = [name for got in claimed for name in got]
    assert sorted(names) == sorted(spare), "each key once, and then none"
    for got in claimed[:3]:
        assert all(value == spare[name] for name, value in got.items())


def test_new_device_is_announced(away, adam, egon, published, back):
    adam.sync()
    adam.changed.clear()
    with back():
        second = away.synapse.client().login("egon", "correct horse")
        publish(second, 0)
        adam.wait_for("egon in device_lists.changed", lambda: egon.user_id in adam.changed)
    adam.wait_for("the second device", lambda: knows(adam, second))


def test_encrypted_room(home, adam, egon, published, out, back):
    """The room key goes by to-device message, the events stay opaque."""
    with out():
        room = adam.create(preset="private_chat", invite=[egon.user_id], initial_state=[{
            "type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}])
        egon.wait_for("the invite", lambda: room in egon.invites)
    with back():
        egon.join(room)
        adam.wait_member(room, egon.user_id, "join")
    for sender, receiver, crossing in ((adam, egon, out), (egon, adam, back)):
        secret = {"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": key(),
                  "ciphertext": {key(): {"type": 0, "body": key() * 20}}}
        with crossing():
            sender.send_to_device("m.room.encrypted", {receiver.user_id: {receiver.device_id: secret}})
            got = receiver.wait_for("the room key", lambda r=receiver, s=secret: next(
                (event for event in r.to_device if event["content"] == s), None))
        assert got["sender"] == sender.user_id and got["type"] == "m.room.encrypted"
        message = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": key() * 10, "session_id": key(),
                   "sender_key": key(), "device_id": sender.device_id}
        with crossing():
            event = receiver.wait_event(room, sender.send(room, message, "m.room.encrypted"))
        assert event["content"] == message
