"""Clients that come through the door, as from the internet."""

import threading

import pytest

from .client import Client
from .traffic import read


@pytest.fixture
def roaming(home, adam):
    """Adam's phone: through the door, with the certificate checked."""
    return Client(home.through_door(), home.server_name).login("adam", "correct horse")


def test_well_known_client(home):
    client = Client(home.through_door(), home.server_name)
    headers, _ = client.raw("GET", "/.well-known/matrix/client")
    assert headers["Access-Control-Allow-Origin"] == "*"
    found = client.call("GET", "/.well-known/matrix/client")
    assert found["m.homeserver"]["base_url"] == "https://matrix.socialnetwork24.com"


def test_well_known_server(home, away):
    client = Client(away.through_door(), away.server_name)
    assert client.call("GET", "/.well-known/matrix/server") == {"m.server": "matrix.tchncs.de:8448"}
    client = Client(home.through_door(), home.server_name)
    assert client.request("GET", "/.well-known/matrix/server")[0] == 404


def test_sync_waits_and_wakes(home, roaming, egon, testraum):
    """A long poll that is already waiting when the message comes in over federation."""
    roaming.sync()
    before = read(home).inbound("client")
    poll = threading.Thread(target=roaming.sync, args=(30000,))
    poll.start()
    event_id = egon.say(testraum, "wach auf")
    poll.join(40)
    assert not poll.is_alive()
    roaming.wait_event(testraum, event_id)
    assert read(home).inbound("client") > before


def test_media_through_the_door(roaming, egon):
    data = bytes(range(256)) * 4096
    mxc = roaming.upload(data)
    assert roaming.download(mxc)[1] == data
    assert egon.download(mxc)[1] == data


def test_preflight(roaming):
    status, headers, _ = roaming.request("OPTIONS", "/_matrix/client/v3/sync", headers={
        "Origin": "https://app.example", "Access-Control-Request-Method": "GET"})
    assert status in (200, 204) and headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", ["/_matrix/client/versions", "/_matrix/media/v3/config", "/_matrix/client/v3/login"])
def test_nothing_but_federation_where_not_exposed(away, path):
    client = Client(away.through_door(), away.server_name)
    for host in (away.matrix_host, away.server_name):
        status, headers, body = client.request("GET", path, headers={"Host": host})
        assert status == 404 and b"M_UNRECOGNIZED" in body
        assert headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize("path", [
    "/_synapse/admin/v1/register", "/_synapse/admin/v1/server_version", "/_synapse/replication/x", "/health",
    "/_matrix/../_synapse/admin/v1/register", "/_matrix/client/%2e%2e/%2e%2e/_synapse/admin/v1/register",
    "//_synapse/admin/v1/register", "/%5fsynapse/admin/v1/register", "/_synapse/client/../admin/v1/register"])
def test_administration_stays_inside(home, adam, path):
    """Synapse answers the first of these with a nonce on its own listener."""
    client = Client(home.through_door(), home.server_name)
    status, headers, body = client.request("GET", path)
    assert status in (400, 404) and b"nonce" not in body and body != b"OK"
    assert headers["Content-Type"].startswith("application/json")
