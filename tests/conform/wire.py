"""Raw requests through the real door: what was answered, and what the homeserver saw of it."""

import threading

from support.http1 import Cut

GOOD = "/_matrix/client/own/"
PIECE_MAX = 600  # longer messages are cut into bigger pieces: the codec's own tests cut everywhere


class Recorder:
    """A homeserver that keeps whole requests apart from those that were cut short."""

    def __init__(self, server):
        self.server = server
        self.whole, self.cut = [], 0
        self.plays = {}  # target -> script(exchange)
        self.lock = threading.Lock()
        server.script, server.cuts_allowed = self.script, True

    def script(self, exchange):
        try:
            body = exchange.read_body()
        except Cut:
            with self.lock:
                self.cut += 1
            raise
        with self.lock:
            self.whole.append(exchange.request)
        play = self.plays.get(exchange.request.target)
        if play:
            play(exchange)
        else:
            exchange.respond(body=exchange.request.target + b" " + body)

    def take(self):
        with self.lock:
            whole, self.whole = self.whole, []
        return whole


def own(token):
    """A good request, and what only its own answer says."""
    target = f"{GOOD}{token}"
    return f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode(), target.encode() + b" "


def piece_of(data):
    return 1 if len(data) <= PIECE_MAX else 97


def assert_refused(peer, status, home, expected=()):
    """This answer, then the end; the homeserver saw the expected whole requests and nothing else."""
    response = peer.response()
    assert response.status == status, (response.status, response.body)
    assert response.get("content-type") == b"application/json"
    assert peer.ends() and peer.end == "closed"
    assert [request.target for request in home.take()] == list(expected)


def assert_alive(peer, token):
    request, answer = own(token)
    response = peer.ask(request)
    assert response.status == 200 and response.body == answer
