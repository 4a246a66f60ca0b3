"""Requests as text, and what their answers must be."""

import json

VERSION = "/_matrix/federation/v1/version"
SEND = "/_matrix/federation/v1/send/1"
UPLOAD = "/_matrix/media/v3/upload"
CLIENT = "/_matrix/client/v3/sync"


def head(method, target, *fields, host="example.org", version="1.1"):
    lines = [f"{method} {target} HTTP/{version}", f"Host: {host}", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def get(target=VERSION, *fields, **options):
    return head("GET", target, *fields, **options)


def put(target=SEND, body=b"{}", *fields, method="PUT", **options):
    return head(method, target, *fields, f"Content-Length: {len(body)}", **options) + body


def post(target, body=b"{}", *fields, **options):
    return put(target, body, *fields, method="POST", **options)


def chunked(body, size=None):
    """The body in chunks of that size."""
    size = size or len(body) or 1
    parts = [body[at:at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def put_chunked(target, body, *fields, size=None, method="PUT"):
    return head(method, target, *fields, "Transfer-Encoding: chunked") + chunked(body, size)


def assert_error(response, status, errcode=None):
    """A Matrix error of the door's own."""
    assert response.status == status, (response.status, response.body)
    assert response.get("content-type") == b"application/json"
    value = json.loads(response.body)
    assert set(value) == {"errcode", "error"} and value["error"]
    if errcode:
        assert value["errcode"] == errcode
    return value


def assert_cors(response, present=True):
    got = response.get("access-control-allow-origin")
    assert got == (b"*" if present else None)
