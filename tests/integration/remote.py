"""Other servers as the homeserver's requests find them, and those requests as Synapse writes them."""

import json

from support.world import SECRET

XMATRIX = 'X-Matrix origin="example.org",key="ed25519:a1",sig="c2ln",destination="%s"'


def synapse(name, target="/_matrix/federation/v1/version", method="GET", body=None, fields=None, secret=SECRET,
            authorization=None):
    """A request on the outbound listener."""
    lines = [f"{method} matrix-federation://{name}{target} HTTP/1.1", "Connection: close",
             "User-Agent: Synapse/1.157.1"]
    if body is not None:
        lines += [f"Content-Length: {len(body)}"]
    if body:
        lines += ["Content-Type: application/json"]
    lines += [f"Authorization: {line}" for line in authorization or [XMATRIX % name]]
    if secret is not None:
        lines += [f"Proxy-Authorization: Bearer {secret}"]
    lines += [*(fields or []), f"Host: {name}:80", "", ""]
    return "\r\n".join(lines).encode("latin-1") + (body or b"")


class Remote:
    """A Matrix server named `name` at world address `number`: a web server on 443, federation on `port`."""

    def __init__(self, world, name, number, port=8448, certificate=None, host=None, well_known=None):
        self.world, self.name, self.well_known = world, name, well_known
        self.host = host or name
        self.well_known_fields, self.well_known_status = [], 200
        certificate = certificate or world.certificate(name, self.host)
        self.where = world.address(number)
        self.federation = world.server((number, port), certificate=certificate)
        self.web = world.server((number, 443), self.answer_web, world.certificate(name)) if port != 443 else None
        for owner in {name, self.host}:
            world.dns.add(owner, "A", self.where)

    def answer_web(self, exchange):
        if self.well_known is None:
            exchange.respond(404, b"no", [(b"Content-Type", b"text/plain")], b"Not Found")
        else:
            body = json.dumps({"m.server": self.well_known}).encode()
            exchange.respond(self.well_known_status, body, self.well_known_fields)


def assert_own_error(response, status, kind):
    """An error of the door, marked as such."""
    assert response.status == status, (response.status, response.body)
    assert response.get("x-doorstep-error") == kind.encode(), response.fields
    assert response.get("content-type") == b"application/json"
    value = json.loads(response.body)
    assert value["errcode"].startswith("M_") and value["error"]
    return value


def assert_relayed(response, status=200):
    assert response.status == status, (response.status, response.body)
    assert response.get("x-doorstep-error") is None
