"""A client that waits long: no byte for 20 s in either direction, and small deadlines everywhere else."""

import threading
import time

from talk import CLIENT, get, put

DOOR = {"limits": {"handshake_timeout": "2s", "head_timeout": "2s", "idle_timeout": "2s", "body_timeout": "2s",
                   "write_timeout": "2s", "pool_timeout": "2s", "homeserver_timeout": "2s"}}
WAIT_S = 20


def test_twenty_seconds_without_a_byte(world, door, home):
    """One waits for a head, one for the rest of a body, one with TLS 1.2; others are served meanwhile."""
    def script(exchange):
        exchange.read_body()
        if exchange.request.target.endswith(b"head"):
            time.sleep(WAIT_S)
            exchange.respond(body=b"news")
        elif exchange.request.target.endswith(b"body"):
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nne")
            time.sleep(WAIT_S)
            exchange.send(b"ws")
        else:
            exchange.respond()

    home.script = script
    waiting = [world.peer(), world.peer(), world.peer(tls12=True)]
    for peer, what in zip(waiting, ("head", "body", "head")):
        peer.send(get(f"{CLIENT}?{what}"))
    stop, served = threading.Event(), []

    def others():
        while not stop.wait(0.5):
            served.append(world.peer().ask(put()).status)

    thread = threading.Thread(target=others)
    thread.start()
    assert [peer.response().body for peer in waiting] == [b"news"] * 3
    stop.set()
    thread.join()
    assert set(served) == {200}
