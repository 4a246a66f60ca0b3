"""Invites to direct chats."""


def direct(sender, receiver, crossing):
    with crossing():
        room = sender.create(preset="trusted_private_chat", is_direct=True, invite=[receiver.user_id])
        state = receiver.wait_for("the invite", lambda: receiver.invites.get(room))
    mine = [event for event in state if event["type"] == "m.room.member" and event["state_key"] == receiver.user_id]
    assert mine[0]["content"]["membership"] == "invite" and mine[0]["content"]["is_direct"] is True
    assert mine[0]["sender"] == sender.user_id
    return room


def test_accepted(adam, egon, out, back):
    room = direct(adam, egon, out)
    with back():
        egon.join(room)
        adam.wait_member(room, egon.user_id, "join")
    with out():
        egon.wait_event(room, adam.say(room, "unter uns"))
    with back():
        adam.wait_event(room, egon.say(room, "ganz unter uns"))
    assert egon.state(room, "m.room.encryption")["algorithm"] == "m.megolm.v1.aes-sha2"


def test_accepted_the_other_way(adam, egon, out, back):
    room = direct(egon, adam, back)
    with out():
        adam.join(room)
        egon.wait_member(room, adam.user_id, "join")


def test_declined(adam, egon, out, back):
    """A leave from outside the room: make_leave and send_leave."""
    room = direct(adam, egon, out)
    with back():
        egon.leave(room)
        adam.wait_member(room, egon.user_id, "leave")
