"""A public room of one server, with people of both."""

from urllib.parse import quote


def test_join_by_alias(testraum, adam, egon):
    assert adam.members(testraum) == {adam.user_id, egon.user_id}
    assert egon.state(testraum, "m.room.topic")["topic"] == "Türen testen"


def test_messages_both_ways(testraum, adam, egon, out, back):
    for sender, reader, crossing in ((adam, egon, out), (egon, adam, back)):
        with crossing():
            sent = [(sender.say(testraum, text), text) for text in ("Grüß Gott", "ça va? 🚪", "\\u0000 <&> \"'")]
            for event_id, text in sent:
                assert reader.wait_event(testraum, event_id)["content"]["body"] == text
        order = [event["event_id"] for event in reader.timeline[testraum]]
        places = [order.index(event_id) for event_id, _ in sent]
        assert places == sorted(places)


def test_large_event(testraum, adam, egon, out):
    """Close to the 65536 bytes an event may have."""
    text = "ü" * 31000
    with out():
        assert egon.wait_event(testraum, adam.say(testraum, text))["content"]["body"] == text


def test_burst(testraum, adam, egon, back):
    with back():
        sent = [egon.say(testraum, f"burst {number}") for number in range(60)]
        for event_id in sent:
            adam.wait_event(testraum, event_id)


def test_typing_and_receipts(testraum, adam, egon, out, back):
    """Ephemeral units, which travel beside the events."""
    room = quote(testraum, safe="")
    event_id = adam.say(testraum, "read this")
    egon.wait_event(testraum, event_id)
    with back():
        egon.call("PUT", f"/_matrix/client/v3/rooms/{room}/typing/{egon.user_id}", {"typing": True, "timeout": 20000})
        adam.wait_for("egon to type", lambda: any(
            egon.user_id in note["content"]["user_ids"] for note in adam.notes(testraum, "m.typing")))
        egon.call("POST", f"/_matrix/client/v3/rooms/{room}/receipt/m.read/{quote(event_id, safe='')}", {})
        adam.wait_for("egon's receipt", lambda: any(
            event_id in note["content"] for note in adam.notes(testraum, "m.receipt")))


def test_history_before_the_join(home, adam, egon, back):
    """Events from before the join come by backfill."""
    room = adam.create(preset="public_chat")
    texts = [f"before {number}" for number in range(40)]
    for text in texts:
        adam.say(room, text)
    with back():
        egon.join(room, via=home.server_name)
    bodies, token = [], None
    with back():
        while len(bodies) < len(texts):
            query = {"dir": "b", "limit": 50, **({"from": token} if token else {})}
            page = egon.call("GET", f"/_matrix/client/v3/rooms/{quote(room, safe='')}/messages", query=query)
            bodies += [event["content"]["body"] for event in page["chunk"] if event["type"] == "m.room.message"]
            token = page.get("end")
            assert token, f"history ended after {len(bodies)} messages"
    assert bodies == texts[::-1]


def test_leave_is_seen(away, testraum, adam, back):
    rosa = away.synapse.register("rosa")
    with back():
        rosa.join("#testraum:socialnetwork24.com")
        adam.wait_member(testraum, rosa.user_id, "join")
    with back():
        rosa.leave(testraum)
        adam.wait_member(testraum, rosa.user_id, "leave")
    assert rosa.user_id not in adam.members(testraum)


def test_the_only_user_of_a_server_leaves(home, adam, egon, back):
    """Afterwards that server is no longer in the room, and the leave must still get out."""
    room = adam.create(preset="public_chat")
    with back():
        egon.join(room, via=home.server_name)
        adam.wait_member(room, egon.user_id, "join")
    with back():
        egon.leave(room)
        adam.wait_member(room, egon.user_id, "leave")
