"""Every response of the table, played by the homeserver; afterwards everybody gets his own answers."""

import pytest

import http_rows
from support.http1 import Cut
from wire import assert_alive, own, piece_of

ROWS = [row for row in http_rows.load("responses") if row.words.get("to") != b"CONNECT"]
BODIES = [http_rows.Row(f"body-{row.name}", "502" if row.verdict.isdigit() else row.verdict, row.words,
                        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + row.bytes)
          for row in http_rows.load("chunked")]
ALL = ROWS + BODIES
TARGET = "/_matrix/client/row"
# the door has one ceiling for line, field and head of a response; "open" ends here, so that it is whole
EITHER = {"line-8001", "field-8193", "to-close-open"}


def test_there_are_enough():
    assert len(ALL) >= 200
    assert sum(row.verdict == "502" for row in ALL) >= 100


def play(home, row, whole):
    """Then nothing more comes: the connection ends, or stays silent until the door lets it go."""
    done = "end" in row.words or row.verdict != "ok" or row.words.get("status", b"200")[:1] == b"1"

    def script(exchange):
        exchange.send(row.bytes, None if whole else piece_of(row.bytes))
        if done:
            exchange.close()
        else:
            exchange.peer_left()  # it may keep the connection and ask again, or not
            exchange.close()

    home.plays[TARGET.encode()] = script


def ask(world, row):
    """(response or None when it was cut short, the connection)."""
    method = row.words.get("to", b"GET").decode()
    peer = world.peer("a")
    peer.send(f"{method} {TARGET} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    try:
        return peer.response(method), peer
    except Cut:
        assert peer.end.startswith("cut"), "a cut answer must look cut"
        return None, peer


def assert_right(row, response):
    if row.name in EITHER:
        return
    if row.verdict == "ok" and row.words.get("status", b"200")[:1] != b"1":
        assert response is not None
        assert response.status == int(row.words.get("status", b"%d" % response.status))
        if "reason" in row.words:
            assert response.reason == row.words["reason"]
        if "data" in row.words:
            assert response.body == row.words["data"]
    elif response is not None:
        assert response.status in (502, 503), response
        assert response.get("content-type") == b"application/json"


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "pieces"])
@pytest.mark.parametrize("row", ALL, ids=[row.name for row in ALL])
def test_response(world, door, home, row, whole):
    play(home, row, whole)
    response, peer = ask(world, row)
    assert_right(row, response)
    for number in range(3):
        if response is None or response.get("connection") == b"close":
            peer.close()
            peer = world.peer("a")
            response = None
        assert_alive(peer, f"{row.name}-{number}")
    fresh = world.peer("a")
    assert_alive(fresh, f"{row.name}-fresh")
    fresh.close()
    peer.close()


@pytest.mark.parametrize("row", [row for row in ALL if row.verdict == "502"][::4],
                         ids=lambda row: row.name)
def test_bad_response_to_pipelined_requests(world, door, home, row):
    """The request behind the one that got nonsense gets its own answer, or none."""
    play(home, row, True)
    peer = world.peer("a")
    before, first = own("before")
    behind, answer = own("behind")
    peer.send(before + f"GET {TARGET} HTTP/1.1\r\nHost: a\r\n\r\n".encode() + behind)
    assert peer.response().body == first
    try:
        response = peer.response()
        assert response.status == 502
        if response.get("connection") != b"close":
            assert peer.response().body == answer
    except Cut:
        assert peer.end.startswith("cut")
    peer.close()
