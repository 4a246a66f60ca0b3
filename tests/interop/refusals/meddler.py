"""Stands between a door and its homeserver, passes everything on, and refuses what it is told to refuse.

So a real homeserver has the rooms, keys and people, and one endpoint at a time answers as a door does whose
homeserver sleeps.
"""

import http.client
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOP = {"connection", "keep-alive", "transfer-encoding"}


class Meddler:
    def __init__(self, address, port, homeserver):
        """homeserver: (address, port)"""
        self.homeserver = homeserver
        self.pattern = self.refusal = None
        self.seen = []  # (method, path) of what was refused
        self.server = ThreadingHTTPServer((address, port), self.handler())
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def start(self):
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def refuse(self, pattern, status, errcode):
        self.seen.clear()
        self.refusal = (status, {"errcode": errcode, "error": "homeserver temporarily asleep"})
        self.pattern = re.compile(pattern)

    def pass_all(self):
        self.pattern = None

    def handler(self):
        meddler = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status, fields, body):
                self.send_response(status)
                for name, value in fields:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def relay(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                pattern = meddler.pattern
                if pattern and pattern.search(f"{self.command} {self.path}"):
                    meddler.seen.append((self.command, self.path))
                    status, document = meddler.refusal
                    return self.answer(status, [("Content-Type", "application/json")], json.dumps(document).encode())
                connection = http.client.HTTPConnection(*meddler.homeserver, timeout=120)
                try:
                    connection.request(self.command, self.path, body or None, dict(self.headers))
                    response = connection.getresponse()
                    data = response.read()
                    fields = [(name, value) for name, value in response.getheaders()
                              if name.lower() not in HOP | {"content-length"}]
                    return self.answer(response.status, fields, data)
                finally:
                    connection.close()

            do_GET = do_PUT = do_POST = do_HEAD = do_OPTIONS = relay

        return Handler
