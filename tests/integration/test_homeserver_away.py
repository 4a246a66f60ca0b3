"""The homeserver is off, slow, or gone in the middle: what peers see, and what is sent twice."""

import json
import socket
import threading
import time

import pytest

from support.http1 import Cut
from support.process import wait_until
from talk import CLIENT, SEND, UPLOAD, VERSION, assert_cors, assert_error, get, head, post, put, put_chunked

DOOR = {"limits": {"connect_timeout": "1s"}}


@pytest.fixture
def off(home):
    """The homeserver refuses connections."""
    home.drop_connections()
    home.stop_listening()
    yield
    home.listen()


@pytest.mark.parametrize("request_bytes", [get(), put(), put_chunked(SEND, b"abc"), post(SEND)])
def test_off_is_503(peer, off, request_bytes):
    response = peer.ask(request_bytes)
    assert_error(response, 503)
    assert int(response.get("retry-after")) > 0
    assert_cors(response, False)


@pytest.mark.parametrize("target", [CLIENT, UPLOAD, "/_synapse/client/x"])
def test_off_on_client_paths_has_cors(peer, off, target):
    response = peer.ask(get(target))
    assert_error(response, 503)
    assert_cors(response)


def test_off_and_on_again(peer, home):
    home.drop_connections()
    home.stop_listening()
    assert peer.ask(get()).status == 503
    home.listen()
    assert peer.ask(get()).status == 200, "on the same connection"


def test_off_with_a_big_upload(peer, off):
    peer.send(head("POST", UPLOAD, "Content-Length: 10000000") + b"x" * 1000)
    assert_error(peer.response(), 503)


def test_address_that_never_answers(world, own_door):
    """Packets to it are dropped: a full accept queue."""
    listener = socket.socket()
    listener.bind((world.address(66), 8008))
    listener.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex((world.address(66), 8008))
        fillers.append(filler)
    own_door(world.sections(f"http://{world.address(66)}:8008", host=30, limits=DOOR["limits"]))
    try:
        response = world.peer(host=30).ask(get())
        assert_error(response, response.status)
        assert response.status in (503, 504)
    finally:
        for sock in (*fillers, listener):
            sock.close()


def dies_after_the_first(home):
    """A homeserver that resets a kept connection when a second request comes on it."""
    def script(exchange):
        if exchange.request.index == 0:
            exchange.read_body()
            exchange.respond(body=exchange.request.method)
        else:
            exchange.reset()

    home.script = script


def fresh_connection(peer, home):
    """The next request finds one kept connection to the homeserver, not used since."""
    home.drop_connections()
    wait_until("old connections to end", lambda: home.open == 0)
    home.take()
    assert peer.ask(get()).status == 200


@pytest.mark.parametrize("request_bytes", [get(), head("HEAD", VERSION), head("DELETE", "/_matrix/client/v3/x")])
def test_dead_kept_connection_is_replaced(peer, home, door, request_bytes):
    dies_after_the_first(home)
    fresh_connection(peer, home)
    before = door.counted("retried")
    assert peer.ask(request_bytes).status == 200
    assert [request.index for request in home.take()] == [0, 1, 0]
    assert door.counted("retried") == before + 1


def test_post_that_was_written_is_not_repeated(peer, home):
    dies_after_the_first(home)
    fresh_connection(peer, home)
    response = peer.ask(post("/_matrix/client/v3/createRoom"))
    assert_error(response, response.status)
    assert response.status in (502, 503)
    assert [request.method for request in home.take()] == [b"GET", b"POST"]


def test_kept_connection_closed_while_idle(peer, home):
    """Closed in good order between two requests: nobody notices, whatever the method."""
    for request_bytes in (get(), put(), post("/_matrix/client/v3/createRoom")):
        fresh_connection(peer, home)
        home.drop_connections()
        wait_until("the connection to end", lambda: home.open == 0)
        time.sleep(0.05)
        assert peer.ask(request_bytes).status == 200


def test_only_one_retry(peer, home):
    def script(exchange):
        if len(home.requests) == 1:
            exchange.respond()
        else:
            exchange.reset()

    fresh_connection(peer, home)
    home.drop_connections()
    home.take()
    home.script = script
    assert peer.ask(get()).status == 200
    response = peer.ask(get())
    assert_error(response, response.status)
    assert response.status in (502, 503)
    assert len(home.take()) <= 3


def test_no_retry_on_a_fresh_connection(peer, home):
    fresh_connection(peer, home)
    home.drop_connections()
    wait_until("old connections to end", lambda: home.open == 0)
    time.sleep(0.05)
    home.take()
    home.script = lambda exchange: exchange.reset()
    response = peer.ask(get())
    assert_error(response, response.status)
    assert len(home.take()) == 1


def test_gone_in_the_middle_of_an_answer(peer, home):
    def script(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 10)
        exchange.close()

    home.script = script
    peer.send(get())
    with pytest.raises(Cut):
        peer.response()
    assert peer.end.startswith("cut")


def test_restart_under_load(world, door, home):
    """Peers keep asking while the homeserver goes and comes back; every answer is whole and in order."""
    stop, results = threading.Event(), []

    def ask_on():
        peer = world.peer()
        while not stop.is_set():
            response = peer.ask(get())
            results.append(response.status)
            assert response.status == 200 or json.loads(response.body)["errcode"]

    threads = [threading.Thread(target=ask_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        wait_until("answers", lambda: results and results[-1] == 200)
        home.drop_connections()
        home.stop_listening()
        wait_until("refusals", lambda: results[-1] == 503)
        home.listen()
    stop.set()
    for thread in threads:
        thread.join()
    assert set(results) <= {200, 502, 503}
