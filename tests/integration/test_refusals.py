"""Requests the door answers itself, always with a JSON body that says so."""

import pytest

from talk import CLIENT, SEND, UPLOAD, VERSION, assert_cors, assert_error, get, head, post, put

FORBIDDEN = [
    "/", "/x", "/index.html", "/_matrix", "/_matrix/", "/_matrix/x", "/_matrix/federation", "/health",
    "/_synapse/admin/v1/users", "/_synapse/replication/x", "/_synapse/metrics", "/_synapse/mas/x",
    "/_matrix/federation/../../_synapse/admin/v1/users",
    "/_matrix/federation/v1/../../../_synapse/admin/v1/users",
    "/_matrix/federation/%2e%2e/%2e%2e/_synapse/admin/v1/users",
    "/_matrix/federation/%2E%2E/%2E./_synapse/admin",
    "/_matrix/federation/.%2e/_synapse/admin",
    "/_matrix/federation/..%2f..%2f_synapse/admin",
    "/_matrix/federation/..%2F..%2F_synapse%2Fadmin",
    "/_matrix/federation/..%5c..%5c_synapse%5cadmin",
    "/_matrix/federation/..\\..\\_synapse\\admin",
    "/_matrix/federation/%252e%252e/%252e%252e/_synapse/admin",
    "/_matrix/federation/%25252e%25252e/_synapse/admin",
    "/_matrix/federation/..;/..;/_synapse/admin",
    "/_matrix/federation/..;a=b/_synapse/admin",
    "/_matrix/federation/./x", "/_matrix/federation/v1/.", "/_matrix/federation/v1/..",
    "/_matrix/client/../../_synapse/admin/v1/users",
    "/_matrix/client/v3/..%2f..%2f..%2f_synapse/admin/v1/users",
    "/_synapse/client/../admin/v1/users",
    "/_synapse/client/%2e%2e/admin/v1/users",
    "/_Synapse/admin/v1/users", "/%5fsynapse/admin/v1/users", "/_synapse%2fadmin/v1/users",
    "//_synapse/admin/v1/users", "//_matrix/federation/v1/version", "/./_matrix/federation/v1/version",
    "/_MATRIX/federation/v1/version", "/_matrix/Federation/v1/version", "/%5Fmatrix/federation/v1/version",
    "/_matrix%2ffederation/v1/version", "/_matrix//federation/v1/version", "/x/../_matrix/federation/v1/version",
    "/_dendrite/admin/x", "/_conduit/x", "/_matrix/app/v1/transactions/1", "/_matrix/identity/v2/x",
    "/.well-known/", "/.well-known/acme-challenge/x", "/.well-known/matrix", "/.well-known/matrix/../../_synapse/admin",
    "/_matrix/media/../../_synapse/admin", "/server-status", "/?/_matrix/federation/v1/version",
]


@pytest.mark.parametrize("target", FORBIDDEN, ids=FORBIDDEN)
def test_path_that_is_not_exposed(peer, home, target):
    assert_error(peer.ask(get(target)), 404)
    assert peer.ask(get()).status == 200, "the connection goes on"
    assert [request.target for request in home.requests] == [VERSION.encode()]


@pytest.mark.parametrize("target", [
    "https://example.org/_synapse/admin/v1/users",
    "https://example.org/_matrix/federation/../../_synapse/admin"])
def test_absolute_target_that_is_not_exposed(peer, home, target):
    assert_error(peer.ask(get(target)), 404, "M_UNRECOGNIZED")
    assert not home.requests


def test_unexposed_path_with_a_body(peer, home):
    response = peer.ask(post("/_synapse/admin/v1/x", b"x" * 1000))
    assert_error(response, 404, "M_UNRECOGNIZED")
    assert response.get("connection") == b"close" and peer.ends()
    assert not home.requests


def test_only_what_is_exposed(world, home, own_door):
    sections = world.sections(home, host=20, domain=world.domain(expose=["federation"]))
    own_door(sections)
    peer = world.peer(host=20)
    for target, status in ((VERSION, 200), ("/_matrix/key/v2/server", 200), (CLIENT, 404),
                           ("/_matrix/media/v3/download/a/b", 404), ("/_synapse/client/x", 404),
                           ("/_matrix/federation/v1/media/download/x", 200)):
        response = peer.ask(get(target))
        assert response.status == status, target
        assert response.get("content-type") == b"application/json"


@pytest.mark.parametrize("host", ["other.example", "example.org.evil.example", "xexample.org", "127.0.0.1",
                                  "[::1]", "org"])
def test_other_hosts_are_misdirected(peer, home, door, host):
    before = door.counted("inbound_requests_misdirected")
    assert_error(peer.ask(get(host=host)), 421)
    assert not home.requests
    assert door.counted("inbound_requests_misdirected") == before + 1


@pytest.mark.parametrize("host", ["example.org", "EXAMPLE.org", "example.org:8448", "example.org:443", "Example.Org:1"])
def test_our_hosts(peer, home, host):
    assert peer.ask(get(host=host)).status == 200
    assert home.requests[0].get("host") == host.encode()


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_length_is_required(peer, home, method):
    response = peer.ask(head(method, SEND))
    assert_error(response, 411)
    assert not home.requests


def test_client_may_leave_the_length_out(peer, home):
    assert peer.ask(head("POST", "/_matrix/client/v3/logout"), "POST").status == 200
    assert len(home.requests) == 1


@pytest.mark.parametrize("target, size", [(SEND, 64 * 1024 * 1024), ("/_matrix/federation/v1/x", 2 * 1024 * 1024)])
def test_announced_length_above_the_limit(peer, home, target, size):
    peer.send(head("PUT", target, f"Content-Length: {size}"))
    response = peer.response()
    assert_error(response, 413, "M_TOO_LARGE")
    assert response.get("connection") == b"close" and peer.ends()
    assert not home.requests


def test_chunked_body_above_the_limit(peer, home, door):
    home.cuts_allowed = True
    peer.send(head("PUT", "/_matrix/federation/v1/x", "Transfer-Encoding: chunked"))
    for _ in range(40):
        if not peer.send_gently(b"10000\r\n" + b"x" * 65536 + b"\r\n"):
            break
    assert_error(peer.response(), 413, "M_TOO_LARGE")
    peer.rest()
    door.wait_gauge("homeserver_connections_open", 0)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get", "GETS", "M-SEARCH", "PATCH"])
def test_methods_that_are_not_served(peer, home, method):
    target = "example.org:8448" if method == "CONNECT" else VERSION
    response = peer.ask(head(method, target), "GET")
    assert_error(response, 405)
    assert not home.requests


def test_errors_on_client_paths_have_cors(world, home, own_door):
    own_door(world.sections(home, host=21, domain=world.domain(expose=["federation"])))
    peer = world.peer(host=21)
    assert_cors(peer.ask(get(CLIENT)))
    response = peer.ask(get("/_synapse/admin/x"))
    assert response.status == 404


def test_uploads_are_the_homeservers_business(peer, home):
    assert peer.ask(post(UPLOAD, b"x" * 2000000)).status == 200
    assert len(home.requests[0].body) == 2000000


def test_put_within_the_limits(peer):
    assert peer.ask(put(SEND, b"x" * 12 * 1024 * 1024)).status == 200
