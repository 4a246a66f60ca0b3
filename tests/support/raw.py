"""Peers that say exactly what a test tells them: clients by the byte, servers by a script."""

import contextlib
import os
import socket
import ssl
import struct
import threading
import time

from .http1 import Cut, Malformed, Reader
from .process import wait_until

TIMEOUT = 30  # of one wait for bytes: a test that hangs must end some time


def client_context(authority_file, tls12=False):
    context = ssl.create_default_context(cafile=authority_file)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # an end without close_notify must be seen
    if tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def server_context(certificate, *more):
    """more: further (name, certificate) chosen by SNI."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    others = {name: server_context(other) for name, other in more}
    if others:
        def choose(sock, name, _):
            sock.context = others.get(name, context)
        context.sni_callback = choose
    return context


def reset(sock):
    """Closes so that the other side sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def dial(where, source=None):
    """where: (address, port) or the path of a unix socket."""
    if isinstance(where, str):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(TIMEOUT)
        sock.connect(where)
        return sock
    return socket.create_connection(where, TIMEOUT, source_address=(source, 0) if source else None)


class Peer:
    """One connection to the program under test, plain or with TLS."""

    def __init__(self, where, context=None, name=None, source=None, session=None, window=None):
        self.sock = dial(where, source)
        if window:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        if not isinstance(where, str):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            self.sock = context.wrap_socket(self.sock, server_hostname=name, session=session,
                                            suppress_ragged_eofs=False)
        self.reader = Reader(self.recv_some)
        self.end = None  # once seen: "closed" in good order, or "cut"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data, piece=None):
        """All of it, or in pieces of that many bytes, each its own TLS record and write."""
        for at in range(0, len(data), piece or len(data) or 1):
            self.sock.sendall(data[at:at + piece] if piece else data)

    def send_gently(self, data, piece=None):
        """As much as the other side takes before it closes; False if not all."""
        try:
            self.send(data, piece)
        except OSError:
            return False
        return True

    def recv_some(self):
        try:
            data = self.sock.recv(65536)
        except (ssl.SSLEOFError, ConnectionResetError, BrokenPipeError):
            self.end = "cut"
            return b""
        except ssl.SSLError as error:
            self.end = f"cut ({error.reason})"
            return b""
        if not data:
            self.end = "closed"
        return data

    def response(self, method="GET", version="1.1"):
        return self.reader.response(method, version)

    def ask(self, data, method=None):
        """Sends a whole request and reads its whole response."""
        self.send(data)
        return self.response(method or data.split(b" ", 1)[0].decode("latin-1"))

    def rest(self):
        """Everything until the end; how it ended is in self.end."""
        while self.reader.more():
            pass
        got, self.reader.waiting = self.reader.waiting, b""
        return got

    def ends(self):
        """True when the other side closes without saying anything more."""
        return self.rest() == b""

    def shut(self):
        """No more from us, but we go on reading (a bare FIN under TLS)."""
        socket.socket.shutdown(self.sock, socket.SHUT_WR)

    def reset(self):
        reset(self.sock)

    def close(self):
        self.sock.close()


class Exchange:
    """One request at a scripted server, as its script sees it."""

    def __init__(self, server, sock, reader, request):
        self.server, self.sock, self.reader, self.request = server, sock, reader, request
        self.body_read = False
        self.close_after = False

    def read_body(self):
        if not self.body_read:
            self.body_read = True
            self.reader.request_body(self.request)
        return self.request.body

    def send(self, data, piece=None):
        for at in range(0, len(data), piece or len(data) or 1):
            self.sock.sendall(data[at:at + piece] if piece else data)

    def respond(self, status=200, body=b"{}", fields=(), reason=b"OK"):
        lines = [b"HTTP/1.1 %d %s" % (status, reason)]
        names = {name.lower() for name, _ in fields}
        if b"content-type" not in names and body:
            lines.append(b"Content-Type: application/json")
        lines += [b"%s: %s" % field for field in fields]
        if b"transfer-encoding" not in names and b"content-length" not in names:
            lines.append(b"Content-Length: %d" % len(body))
        self.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    def close(self):
        """In good order, when the script returns."""
        self.close_after = True

    def reset(self):
        reset(self.sock)
        self.close_after = True

    def peer_left(self, seconds=TIMEOUT):
        """True once the program under test has ended this connection."""
        self.sock.settimeout(seconds)
        try:
            return self.sock.recv(65536) == b""
        except (ConnectionError, ssl.SSLError):
            return True
        except TimeoutError:
            return False


def echo(exchange):
    """The default script: says what came."""
    body = exchange.read_body()
    exchange.respond(body=b'{"method":"%s","body_bytes":%d}' % (exchange.request.method, len(body)))


def start_then_reset(start):
    """A script that begins an answer and resets the connection when the returned function is called."""
    now = threading.Event()

    def script(exchange):
        exchange.send(start)
        now.wait(TIMEOUT)
        exchange.reset()

    return script, now.set


class Server:
    """A scripted HTTP/1.1 server. The script is called for every request, in a thread per connection.

    What is read is kept in `requests`, what was not HTTP in `faults`; a script's own error too.
    """

    def __init__(self, where, context=None, script=echo):
        self.where, self.context, self.script = where, context, script
        self.requests, self.faults, self.handshakes = [], [], []
        self.cuts_allowed = False  # a request cut short is what the test is about
        self.connections = 0
        self.open_sockets = set()
        self.lock = threading.Lock()
        self.listener = None
        self.listen()

    @property
    def open(self):
        with self.lock:
            return len(self.open_sockets)

    def listen(self):
        if isinstance(self.where, str):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.where)
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(self.where)
        else:
            family = socket.AF_INET6 if ":" in self.where[0] else socket.AF_INET
            self.listener = socket.socket(family)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(self.where)
        self.listener.listen(256)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def stop_listening(self):
        """New connections are refused from now on, open ones stay."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def drop_connections(self):
        with self.lock:
            sockets = list(self.open_sockets)
        for sock in sockets:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # below TLS: its thread still reads

    def close(self):
        self.stop_listening()
        self.drop_connections()

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            if sock.family != socket.AF_UNIX:  # what a script sends is on its way at once
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections += 1
                number = self.connections
                self.open_sockets.add(sock)
            threading.Thread(target=self.serve, args=(sock, number), daemon=True).start()

    def serve(self, plain, number):
        sock = plain
        plain.settimeout(TIMEOUT * 4)
        try:
            if self.context:
                sock = self.context.wrap_socket(plain, server_side=True)
                self.handshakes.append(sock.session_reused)
            with self.lock:
                self.open_sockets.discard(plain)
                self.open_sockets.add(sock)
            self.converse(sock, number)
        except Cut as cut:
            if not self.cuts_allowed:
                self.note(f"connection {number}: {cut}")
        except Malformed as error:
            self.note(f"connection {number}: {error}")
        except OSError:
            pass
        except Exception as error:  # pylint: disable=broad-except
            self.note(f"connection {number}: script failed: {error!r}")
        finally:
            with self.lock:
                self.open_sockets.discard(sock)
                self.open_sockets.discard(plain)
            with contextlib.suppress(OSError, ValueError):
                if self.context and isinstance(sock, ssl.SSLSocket):
                    sock.settimeout(1)
                    sock.unwrap()
            sock.close()

    def converse(self, sock, number):
        def recv_some():
            try:
                return sock.recv(65536)
            except (ConnectionError, ssl.SSLError):
                return b""

        reader = Reader(recv_some)
        index = 0
        while (request := reader.request_head()) is not None:
            request.connection, request.index = number, index
            index += 1
            with self.lock:
                self.requests.append(request)
            exchange = Exchange(self, sock, reader, request)
            self.script(exchange)
            if exchange.close_after:
                return
            exchange.read_body()

    def note(self, text):
        with self.lock:
            self.faults.append(text)

    def take(self):
        """What came since the last time."""
        with self.lock:
            requests, self.requests = self.requests, []
        return requests

    def take_faults(self):
        with self.lock:
            faults, self.faults = self.faults, []
        return faults

    def wait_requests(self, count, seconds=TIMEOUT):
        wait_until(f"{count} requests at the scripted server", lambda: len(self.requests) >= count, seconds)
        return self.requests


def trickle(send, data, pause, stop=lambda: False):
    """Sends byte by byte with a pause after each; how many went out before the other side closed."""
    for sent in range(len(data)):
        if stop():
            return sent
        try:
            send(data[sent:sent + 1])
        except OSError:
            return sent
        time.sleep(pause)
    return len(data)
