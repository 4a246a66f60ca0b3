"""Rooms as the stand-in homeserver keeps them: one line of events, state by the order of arrival.

Enough for signed events to travel and be checked; no authorization rules, no state resolution.
"""

import secrets

from .matrix import ROOM_VERSION, event_id, now_ms

AUTH_TYPES = (("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.join_rules", ""))


def domain_of(identifier):
    return identifier.split(":", 1)[1]


class Room:
    def __init__(self, room_id):
        self.room_id = room_id
        self.events = {}  # id -> event, in the order of arrival
        self.state = {}   # (type, state key) -> event id
        self.last = None

    @classmethod
    def new_id(cls, server_name):
        return f"!{secrets.token_urlsafe(12)}:{server_name}"

    def add(self, event):
        """False when it was there already."""
        identifier = event_id(event)
        if identifier in self.events:
            return False
        self.events[identifier] = event
        if "state_key" in event:
            self.state[event["type"], event["state_key"]] = identifier
        self.last = identifier
        return True

    def template(self, sender, kind, content, state_key=None):
        """An event that follows the last one, not signed yet."""
        wanted = [*AUTH_TYPES, ("m.room.member", sender)]
        event = {
            "room_id": self.room_id, "sender": sender, "type": kind, "content": content,
            "origin_server_ts": now_ms(),
            "depth": 1 + max((known["depth"] for known in self.events.values()), default=0),
            "prev_events": [self.last] if self.last else [],
            "auth_events": [self.state[key] for key in wanted if key in self.state],
        }
        if state_key is not None:
            event["state_key"] = state_key
        return event

    def membership(self, user):
        identifier = self.state.get(("m.room.member", user))
        return self.events[identifier]["content"]["membership"] if identifier else None

    def members(self):
        return [user for kind, user in self.state if kind == "m.room.member" and self.membership(user) == "join"]

    def servers(self):
        return {domain_of(user) for user in self.members()}

    def is_public(self):
        identifier = self.state.get(("m.room.join_rules", ""))
        return bool(identifier) and self.events[identifier]["content"].get("join_rule") == "public"

    def state_events(self):
        return [self.events[identifier] for identifier in self.state.values()]

    def timeline(self):
        return [{"event_id": identifier, **event} for identifier, event in self.events.items()]

    def first_state(self, creator, name=None, public=False):
        """What a new room begins with: (type, state key, content)."""
        yield "m.room.create", "", {"room_version": ROOM_VERSION}
        yield "m.room.member", creator, {"membership": "join"}
        yield "m.room.power_levels", "", {"users": {creator: 100}}
        yield "m.room.join_rules", "", {"join_rule": "public" if public else "invite"}
        yield "m.room.history_visibility", "", {"history_visibility": "shared"}
        if name:
            yield "m.room.name", "", {"name": name}
