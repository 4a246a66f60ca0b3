"""200 MB in each direction through the smallest memory class: the process does not grow.

Measured on the executable that users get; the sanitizers' own memory would hide it.
"""

import time

import pytest

from support.door import release_executable
from talk import UPLOAD, get, head

SIZE = 200 * 1024 * 1024
PIECE = b"x" * (1024 * 1024)
PEAK_KIB = 6 * 1024  # resident, libraries included
GROWTH_KIB = 1024


@pytest.fixture
def door(world, home, own_door):
    return own_door(world.sections(home), program=release_executable())


def warm(world, door):
    """One small exchange, so that libraries and buffers are there; the peak so far."""
    assert world.peer().ask(get()).status == 200
    return door.memory("VmHWM")


def check(door, before):
    peak = door.memory("VmHWM")
    print(f"peak {peak} KiB, {peak - before} KiB above a small request")
    assert peak < PEAK_KIB and peak - before < GROWTH_KIB


def take(peer, size):
    got = len(peer.reader.waiting)
    peer.reader.waiting = b""
    while got < size and (data := peer.sock.recv(1024 * 1024)):
        got += len(data)
    return got


@pytest.mark.parametrize("slowly", [False, True], ids=["quick-reader", "slow-reader"])
def test_download(world, door, home, slowly):
    def script(exchange):
        if exchange.request.target.endswith(b"big"):
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
            for _ in range(SIZE // len(PIECE)):
                exchange.send(PIECE)
        else:
            exchange.respond()

    home.script = script
    before = warm(world, door)
    peer = world.peer()
    peer.send(get("/_matrix/media/v3/download/a/big"))
    assert peer.reader.final_head().get("content-length") == b"%d" % SIZE
    if slowly:
        time.sleep(1)  # everything on the way is full now
    assert take(peer, SIZE) == SIZE
    check(door, before)


@pytest.mark.parametrize("slowly", [False, True], ids=["quick-homeserver", "slow-homeserver"])
def test_upload(world, door, home, slowly):
    def script(exchange):
        if exchange.request.method == b"POST":
            exchange.body_read = True
            if slowly:
                time.sleep(1)
            got = len(exchange.reader.waiting)
            while got < SIZE and (data := exchange.sock.recv(1024 * 1024)):
                got += len(data)
            exchange.reader.waiting = b""
            exchange.respond(body=b"%d" % got)
        else:
            exchange.respond()

    home.script = script
    before = warm(world, door)
    peer = world.peer()
    peer.send(head("POST", UPLOAD, f"Content-Length: {SIZE}"))
    for _ in range(SIZE // len(PIECE)):
        peer.send(PIECE)
    assert peer.response().body == b"%d" % SIZE
    check(door, before)
