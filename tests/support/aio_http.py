"""HTTP/1.1 on asyncio streams, as little as the stand-in homeserver needs: one server, one call."""

import asyncio
import json
from dataclasses import dataclass, field

HEAD_MAX = 65536


@dataclass
class Request:
    method: str
    target: str
    fields: list
    body: bytes = b""

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name, default=""):
        values = self.all(name)
        return values[0] if values else default


@dataclass
class Answer:
    status: int
    value: dict = field(default_factory=dict)


async def read_head(reader):
    """First line and fields; None at the end of the connection."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = raw.decode("latin-1")[:-4].split("\r\n")
    return first, [tuple(line.split(": ", 1)) for line in lines]


async def read_chunks(reader):
    body = b""
    while size := int((await reader.readline()).strip(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


async def read_body(reader, fields, to_end=False):
    names = {name.lower(): value for name, value in fields}
    if "chunked" in names.get("transfer-encoding", ""):
        return await read_chunks(reader)
    if "content-length" in names:
        return await reader.readexactly(int(names["content-length"]))
    return await reader.read() if to_end else b""


async def converse(handle, reader, writer):
    """Answers the requests of one connection; handle(Request) returns an Answer."""
    try:
        while head := await read_head(reader):
            method, target, _ = head[0].split(" ")
            request = Request(method, target, head[1])
            request.body = await read_body(reader, head[1])
            answer = await handle(request)
            text = json.dumps(answer.value, ensure_ascii=False, separators=(",", ":")).encode()
            writer.write(f"HTTP/1.1 {answer.status} X\r\nContent-Type: application/json\r\n"
                         f"Access-Control-Allow-Origin: *\r\nContent-Length: {len(text)}\r\n\r\n".encode())
            writer.write(text)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def call(where, head, body=b""):
    """One request on a connection of its own; (status, JSON value). where: (host, port) or a path."""
    if isinstance(where, str):
        reader, writer = await asyncio.open_unix_connection(where, limit=HEAD_MAX)
    else:
        reader, writer = await asyncio.open_connection(*where, limit=HEAD_MAX)
    try:
        writer.write(head.encode() + body)
        await writer.drain()
        answer = await read_head(reader)
        if answer is None:
            raise ConnectionError("the connection ended without an answer")
        text = await read_body(reader, answer[1], to_end=True)
        return int(answer[0].split(" ")[1]), json.loads(text or b"{}")
    finally:
        writer.close()
