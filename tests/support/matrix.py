"""Matrix events and signatures, as a homeserver makes and checks them (room version 11).

Source: Matrix specification, Appendices "Canonical JSON" and "Signing JSON"; Server-Server API,
"Signing events" and "X-Matrix"; room version 11, "Redactions".
"""

import base64
import hashlib
import json
import re
import time

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

ROOM_VERSION = "11"
KEPT = {"event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth",
        "prev_events", "auth_events", "origin_server_ts"}
KEPT_CONTENT = {
    "m.room.member": {"membership", "join_authorised_via_users_server"},
    "m.room.join_rules": {"join_rule", "allow"},
    "m.room.power_levels": {"ban", "events", "events_default", "invite", "kick", "redact", "state_default",
                            "users", "users_default"},
    "m.room.history_visibility": {"history_visibility"},
    "m.room.redaction": {"redacts"},
}
PARAMETER = re.compile(r'\s*([a-zA-Z]+)=("[^"]*"|[^",\s]+)\s*(?:,|$)')


class Refused(Exception):
    """Something from another server is not as it must be."""


def canonical(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def b64(data):
    return base64.b64encode(data).decode().rstrip("=")


def unb64(text):
    return base64.b64decode(text + "=" * (-len(text) % 4))


def now_ms():
    return int(time.time() * 1000)


def redacted(event):
    """What signatures and event ids cover."""
    kept = {key: value for key, value in event.items() if key in KEPT}
    if event["type"] != "m.room.create":
        names = KEPT_CONTENT.get(event["type"], set())
        kept["content"] = {key: value for key, value in event["content"].items() if key in names}
    return kept


def without(event, *names):
    return {key: value for key, value in event.items() if key not in names}


def content_hash(event):
    return b64(hashlib.sha256(canonical(without(event, "unsigned", "signatures", "hashes"))).digest())


def event_id(event):
    digest = hashlib.sha256(canonical(without(redacted(event), "signatures", "unsigned"))).digest()
    return "$" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def check_hash(event):
    if event.get("hashes", {}).get("sha256") != content_hash(event):
        raise Refused("the event's content does not have the hash it names")


class Signer:
    """A server's name and key."""

    def __init__(self, server_name, key_id="ed25519:door"):
        self.server_name, self.key_id = server_name, key_id
        self.key = SigningKey.generate()

    @property
    def public(self):
        return b64(bytes(self.key.verify_key))

    def signature(self, value):
        return b64(self.key.sign(canonical(without(value, "signatures", "unsigned"))).signature)

    def sign_json(self, value):
        signatures = value.setdefault("signatures", {}).setdefault(self.server_name, {})
        signatures[self.key_id] = self.signature(value)
        return value

    def sign_event(self, event):
        event["hashes"] = {"sha256": content_hash(event)}
        signatures = event.setdefault("signatures", {}).setdefault(self.server_name, {})
        signatures[self.key_id] = self.signature(redacted(event))
        return event

    def key_document(self):
        return self.sign_json({
            "server_name": self.server_name, "valid_until_ts": now_ms() + 86400000,
            "verify_keys": {self.key_id: {"key": self.public}}, "old_verify_keys": {}})

    def authorization(self, method, target, destination, content=None):
        """The header value for a request of ours."""
        request = {"method": method, "uri": target, "origin": self.server_name, "destination": destination}
        if content is not None:
            request["content"] = content
        return (f'X-Matrix origin="{self.server_name}",key="{self.key_id}",sig="{self.signature(request)}",'
                f'destination="{destination}"')


def check_signature(value, server_name, keys):
    """keys: {key id: base64}. The value must carry a good signature of the server with one of them."""
    for key_id, signature in value.get("signatures", {}).get(server_name, {}).items():
        if key_id in keys:
            try:
                VerifyKey(unb64(keys[key_id])).verify(
                    canonical(without(value, "signatures", "unsigned")), unb64(signature))
                return
            except (BadSignatureError, ValueError) as error:
                raise Refused(f"bad signature of {server_name}") from error
    raise Refused(f"no signature of {server_name}")


def check_event(event, server_name, keys):
    check_hash(event)
    check_signature(redacted(event), server_name, keys)


def keys_of(document, server_name):
    """The keys of a /key/v2/server answer that has signed itself."""
    keys = {key_id: entry["key"] for key_id, entry in document.get("verify_keys", {}).items()}
    if document.get("server_name") != server_name:
        raise Refused(f"keys of {document.get('server_name')} instead of {server_name}")
    check_signature(document, server_name, keys)
    return keys


def parse_authorization(text):
    scheme, _, rest = text.partition(" ")
    if scheme.lower() != "x-matrix":
        raise Refused("no X-Matrix authorization")
    return {name.lower(): value.strip('"') for name, value in PARAMETER.findall(rest)}


def check_request(parameters, method, target, destination, content, keys):
    """The X-Matrix signature of a request that came to us."""
    if parameters.get("destination", destination) != destination:
        raise Refused(f"meant for {parameters['destination']}")
    signed = {"method": method, "uri": target, "origin": parameters["origin"], "destination": destination}
    if content is not None:
        signed["content"] = content
    signed["signatures"] = {parameters["origin"]: {parameters["key"]: parameters["sig"]}}
    check_signature(signed, parameters["origin"], keys)
