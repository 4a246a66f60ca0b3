"""A stand-in for a homeserver: signs real events, federates through its own doorstep only.

    python3 -m support.homeserver --server-name example.org --listen 127.0.0.1:8008
        --outbound 127.0.0.1:8009 --secret-file FILE

It hands its federation requests over as Synapse does: absolute-form `matrix-federation://` targets
on a plain connection, `Proxy-Authorization: Bearer`, a Host that means nothing, `Connection: close`.
It knows what tests and the demo need, and checks what arrives: the X-Matrix signature of every
federation request, hash and signature of every event, with keys fetched through its doorstep.

SIGUSR1 is the lid of the laptop that it runs on: nothing listens any more and connections end, what it
knows stays. SIGUSR2 opens it again.
"""

import argparse
import asyncio
import json
import re
import secrets
import signal
import sys
from urllib.parse import parse_qs, quote, unquote, urlsplit

from . import matrix
from .aio_http import HEAD_MAX, Answer, call, converse
from .matrix import Refused, Signer, canonical, check_event, check_request, event_id, keys_of
from .rooms import Room, domain_of

RETRY_S = (0.2, 0.5, 1, 2, 5)
ROUTES = []


def route(method, path):
    """Registers a handler; <name> in the path is one escaped segment."""
    pattern = re.compile(re.sub(r"<(\w+)>", r"(?P<\1>[^/]+)", path))
    return lambda handler: ROUTES.append((method, pattern, handler)) or handler


class Problem(Exception):
    def __init__(self, status, errcode, text):
        super().__init__(text)
        self.answer = Answer(status, {"errcode": errcode, "error": text})


class Context:
    """One request while it is answered."""

    def __init__(self, request, parts):
        self.request = request
        self.query = {name: values[0] for name, values in parse_qs(urlsplit(request.target).query).items()}
        self.parts = {name: unquote(value) for name, value in parts.items()}
        self.body = json.loads(request.body) if request.body else None
        self.origin = None  # federation
        self.user = None    # client


class Homeserver:
    def __init__(self, server_name, outbound, secret):
        self.server_name, self.outbound, self.secret = server_name, outbound, secret
        self.signer = Signer(server_name)
        self.users, self.tokens = {}, {}
        self.rooms, self.aliases, self.invites = {}, {}, {}
        self.keys = {server_name: {self.signer.key_id: self.signer.public}}
        self.transactions = set()
        self.queues, self.senders = {}, {}
        self.stream = []  # (room id, event) in the order they came: what syncs are made of
        self.news = asyncio.Event()

    # ---- what happens here ----

    def add(self, room, event):
        if room.add(event):
            self.announce(room.room_id, event)

    def announce(self, room_id, event):
        self.stream.append((room_id, event))
        self.news.set()
        self.news = asyncio.Event()

    def invited(self, user, room_id, event):
        self.invites[user, room_id] = event
        self.announce(room_id, event)

    # ---- asking other servers ----

    def head(self, method, destination, target, body):
        lines = [f"{method} matrix-federation://{destination}{target} HTTP/1.1", "Connection: close",
                 "User-Agent: doorstep-stand-in/1"]
        if body:
            lines += ["Content-Type: application/json"]
        if method in ("PUT", "POST"):
            lines += [f"Content-Length: {len(body)}"]
        content = json.loads(body) if body else None
        return "\r\n".join([
            *lines, "Authorization: " + self.signer.authorization(method, target, destination, content),
            f"Proxy-Authorization: Bearer {self.secret}", f"Host: {destination}:80", "", ""])

    async def ask(self, method, destination, target, content=None):
        """The answer of another server; a Problem when it is not 200."""
        body = canonical(content) if content else b""
        try:
            status, value = await call(self.outbound, self.head(method, destination, target, body), body)
        except (OSError, ValueError) as error:
            raise Problem(502, "M_UNKNOWN", f"{destination} cannot be asked: {error}") from error
        print(f"asked {destination}: {method} {target} -> {status}", flush=True)
        if status != 200:
            raise Problem(502, value.get("errcode", "M_UNKNOWN"),
                          f"{destination} answered {status}: {value.get('error', '')}")
        return value

    async def keys_for(self, server_name):
        if server_name not in self.keys:
            document = await self.ask("GET", server_name, "/_matrix/key/v2/server")
            self.keys[server_name] = keys_of(document, server_name)
        return self.keys[server_name]

    async def check_event(self, event):
        server_name = domain_of(event["sender"])
        check_event(event, server_name, await self.keys_for(server_name))

    # ---- sending what happened here ----

    def local_event(self, room, sender, kind, content, state_key=None):
        event = self.signer.sign_event(room.template(sender, kind, content, state_key))
        self.add(room, event)
        self.distribute(room, event)
        return event

    def distribute(self, room, event, besides=()):
        for destination in room.servers() - {self.server_name, *besides}:
            queue = self.queues.setdefault(destination, asyncio.Queue())
            queue.put_nowait(event)
            if destination not in self.senders:
                self.senders[destination] = asyncio.create_task(self.deliver(destination, queue))

    async def deliver(self, destination, queue):
        """One transaction at a time, in order, until it is taken."""
        while True:
            pdus = [await queue.get()]
            while not queue.empty() and len(pdus) < 50:
                pdus.append(queue.get_nowait())
            target = f"/_matrix/federation/v1/send/{secrets.token_hex(8)}"
            content = {"origin": self.server_name, "origin_server_ts": matrix.now_ms(), "pdus": pdus}
            for pause in (*RETRY_S, *[RETRY_S[-1]] * 100):
                try:
                    await self.ask("PUT", destination, target, content)
                    break
                except Problem as problem:
                    print(f"not delivered: {problem}", flush=True)
                    await asyncio.sleep(pause)

    # ---- answering ----

    async def handle(self, request):
        try:
            answer = await self.dispatch(request)
        except Problem as problem:
            answer = problem.answer
        except Refused as error:
            answer = Answer(403, {"errcode": "M_FORBIDDEN", "error": str(error)})
        except (KeyError, ValueError, TypeError) as error:
            answer = Answer(400, {"errcode": "M_BAD_JSON", "error": repr(error)})
        print(f"answered {request.get('X-Forwarded-For')}: {request.method} {request.target} -> {answer.status}",
              flush=True)
        return answer

    async def dispatch(self, request):
        path = request.target.split("?", 1)[0]
        for method, pattern, handler in ROUTES:
            match = pattern.fullmatch(path)
            if match and method == request.method:
                context = Context(request, match.groupdict())
                await self.authorize(context, path)
                value = handler(self, context)
                return Answer(200, await value if asyncio.iscoroutine(value) else value)
        raise Problem(404, "M_UNRECOGNIZED", "unrecognized request")

    async def authorize(self, context, path):
        if path.startswith("/_matrix/federation/") and not path.endswith("/version"):
            parameters = matrix.parse_authorization(context.request.get("Authorization"))
            check_request(parameters, context.request.method, context.request.target, self.server_name,
                          context.body, await self.keys_for(parameters["origin"]))
            context.origin = parameters["origin"]
        elif path.startswith("/_matrix/client/v3/") and not path.endswith("/register"):
            token = context.request.get("Authorization").removeprefix("Bearer ")
            if token not in self.tokens:
                raise Problem(401, "M_UNKNOWN_TOKEN", "unknown access token")
            context.user = self.tokens[token]

    def room(self, room_id):
        if room_id not in self.rooms:
            raise Problem(404, "M_NOT_FOUND", "this room is not known here")
        return self.rooms[room_id]

    # ---- federation ----

    @route("GET", "/_matrix/key/v2/server")
    def key_document(self, _):
        return self.signer.key_document()

    @route("GET", "/_matrix/federation/v1/version")
    def version(self, _):
        return {"server": {"name": "doorstep stand-in", "version": "1"}}

    @route("GET", "/_matrix/federation/v1/query/directory")
    def directory(self, context):
        room_id = self.aliases.get(context.query["room_alias"])
        if not room_id:
            raise Problem(404, "M_NOT_FOUND", "no such alias")
        return {"room_id": room_id, "servers": sorted(self.room(room_id).servers())}

    @route("GET", "/_matrix/federation/v1/query/profile")
    def profile(self, context):
        user = self.users.get(context.query["user_id"])
        if not user:
            raise Problem(404, "M_NOT_FOUND", "no such user")
        return {"displayname": user["displayname"]}

    @route("GET", "/_matrix/federation/v1/make_join/<room>/<user>")
    def make_join(self, context):
        room, user = self.room(context.parts["room"]), context.parts["user"]
        if domain_of(user) != context.origin or not (room.is_public() or room.membership(user) == "invite"):
            raise Problem(403, "M_FORBIDDEN", "not invited")
        return {"room_version": matrix.ROOM_VERSION,
                "event": room.template(user, "m.room.member", {"membership": "join"}, user)}

    @route("PUT", "/_matrix/federation/v2/send_join/<room>/<event>")
    async def send_join(self, context):
        room, event = self.room(context.parts["room"]), context.body
        await self.check_event(event)
        if event_id(event) != context.parts["event"] or domain_of(event["sender"]) != context.origin:
            raise Problem(400, "M_INVALID_PARAM", "another event than the path says")
        before = room.state_events()
        self.add(room, event)
        self.distribute(room, event, besides={context.origin})
        return {"origin": self.server_name, "state": before, "auth_chain": before, "event": event,
                "members_omitted": False}

    @route("PUT", "/_matrix/federation/v2/invite/<room>/<event>")
    async def invite(self, context):
        event = context.body["event"]
        await self.check_event(event)
        if event["state_key"] not in self.users:
            raise Problem(404, "M_NOT_FOUND", "no such user")
        self.invited(event["state_key"], context.parts["room"], event)
        return {"event": self.signer.sign_event(event)}

    @route("PUT", "/_matrix/federation/v1/send/<transaction>")
    async def send(self, context):
        done = {}
        fresh = (context.origin, context.parts["transaction"]) not in self.transactions
        for event in context.body["pdus"] if fresh else ():
            try:
                await self.check_event(event)
                self.add(self.room(event["room_id"]), event)
                done[event_id(event)] = {}
            except (Refused, Problem) as error:
                done[event_id(event)] = {"error": str(error)}
        self.transactions.add((context.origin, context.parts["transaction"]))
        return {"pdus": done}

    # ---- clients ----

    @route("GET", "/_matrix/client/versions")
    def versions(self, _):
        return {"versions": ["v1.11"]}

    @route("POST", "/_matrix/client/v3/register")
    def register(self, context):
        user = f"@{context.body['username']}:{self.server_name}"
        token = secrets.token_urlsafe(16)
        self.users[user] = {"displayname": context.body.get("displayname", context.body["username"])}
        self.tokens[token] = user
        return {"user_id": user, "access_token": token, "device_id": "DOOR"}

    @route("GET", "/_matrix/client/v3/profile/<user>")
    async def client_profile(self, context):
        user = context.parts["user"]
        if domain_of(user) != self.server_name:
            return await self.ask("GET", domain_of(user),
                                  f"/_matrix/federation/v1/query/profile?user_id={quote(user, safe='')}")
        return self.profile(Context(context.request, {})) if user in self.users else {}

    @route("POST", "/_matrix/client/v3/createRoom")
    async def create_room(self, context):
        room = Room(Room.new_id(self.server_name))
        self.rooms[room.room_id] = room
        body = context.body or {}
        for kind, key, content in room.first_state(context.user, body.get("name"),
                                                   body.get("preset") == "public_chat"):
            self.local_event(room, context.user, kind, content, key)
        if "room_alias_name" in body:
            self.aliases[f"#{body['room_alias_name']}:{self.server_name}"] = room.room_id
        for user in body.get("invite", ()):
            await self.invite_user(room, context.user, user)
        return {"room_id": room.room_id}

    async def invite_user(self, room, sender, user):
        event = self.signer.sign_event(
            room.template(sender, "m.room.member", {"membership": "invite", "is_direct": True}, user))
        if domain_of(user) == self.server_name:
            self.invited(user, room.room_id, event)
        else:
            target = f"/_matrix/federation/v2/invite/{quote(room.room_id, safe='')}/{quote(event_id(event), safe='')}"
            answer = await self.ask("PUT", domain_of(user), target, {
                "room_version": matrix.ROOM_VERSION, "event": event,
                "invite_room_state": [{key: known[key] for key in ("type", "state_key", "content", "sender")}
                                      for known in room.state_events()]})
            matrix.check_signature(matrix.redacted(answer["event"]), domain_of(user),
                                   await self.keys_for(domain_of(user)))
            event = answer["event"]
        self.add(room, event)

    @route("POST", "/_matrix/client/v3/join/<room>")
    async def join(self, context):
        room_id, via = context.parts["room"], None
        if room_id.startswith("#"):
            room_id, via = await self.look_up(room_id)
        invite = self.invites.pop((context.user, room_id), None)
        if invite:
            via = domain_of(invite["sender"])
        if room_id in self.rooms:
            self.local_event(self.rooms[room_id], context.user, "m.room.member", {"membership": "join"},
                             context.user)
        else:
            await self.join_remote(room_id, via, context.user)
        return {"room_id": room_id}

    async def look_up(self, alias):
        if domain_of(alias) == self.server_name:
            return self.aliases[alias], None
        answer = await self.ask("GET", domain_of(alias),
                                f"/_matrix/federation/v1/query/directory?room_alias={quote(alias, safe='')}")
        return answer["room_id"], answer["servers"][0]

    async def join_remote(self, room_id, via, user):
        room_part, user_part = quote(room_id, safe=""), quote(user, safe="")
        answer = await self.ask("GET", via, f"/_matrix/federation/v1/make_join/{room_part}/{user_part}"
                                            f"?ver={matrix.ROOM_VERSION}")
        event = self.signer.sign_event(answer["event"])
        answer = await self.ask("PUT", via, f"/_matrix/federation/v2/send_join/{room_part}/"
                                            f"{quote(event_id(event), safe='')}", event)
        room = Room(room_id)
        for known in answer["state"]:
            await self.check_event(known)
            room.add(known)
        self.rooms[room_id] = room
        self.add(room, event)

    @route("PUT", "/_matrix/client/v3/rooms/<room>/send/<kind>/<transaction>")
    def send_message(self, context):
        room = self.room(context.parts["room"])
        if context.user not in room.members():
            raise Problem(403, "M_FORBIDDEN", "not in this room")
        event = self.local_event(room, context.user, context.parts["kind"], context.body)
        return {"event_id": event_id(event)}

    @route("GET", "/_matrix/client/v3/rooms/<room>/messages")
    def messages(self, context):
        return {"chunk": self.room(context.parts["room"]).timeline()}

    @route("GET", "/_matrix/client/v3/rooms/<room>/joined_members")
    def joined_members(self, context):
        return {"joined": {user: {} for user in self.room(context.parts["room"]).members()}}

    @route("GET", "/_matrix/client/v3/sync")
    async def sync(self, context):
        """Waits for news as long as the client likes."""
        since = int(context.query.get("since", 0))
        news, patience = self.news, int(context.query.get("timeout", 0)) / 1000
        rooms = self.rooms_since(since, context.user)
        if patience and not any(rooms.values()):
            try:
                await asyncio.wait_for(news.wait(), patience)
                rooms = self.rooms_since(since, context.user)
            except asyncio.TimeoutError:
                pass
        return {"next_batch": str(len(self.stream)), "rooms": rooms}

    def rooms_since(self, since, user):
        """A room that the user joined since then comes whole."""
        joined, invited = {}, {}
        for room_id, event in self.stream[since:]:
            mine = event["type"] == "m.room.member" and event["state_key"] == user
            if (user, room_id) in self.invites:
                invited[room_id] = {"invite_state": {"events": [self.invites[user, room_id]]}}
            elif user in self.room(room_id).members():
                events = joined.setdefault(room_id, [])
                if mine:
                    events[:] = self.room(room_id).timeline()
                elif event_id(event) not in {known["event_id"] for known in events}:
                    events.append({"event_id": event_id(event), **event})
        return {"invite": invited,
                "join": {room_id: {"timeline": {"events": events}} for room_id, events in joined.items()}}


class Front:
    """Where it listens, while it is not suspended."""

    def __init__(self, server, where):
        self.server, self.where, self.listener, self.writers = server, where, None, set()

    async def talk(self, reader, writer):
        self.writers.add(writer)
        try:
            await converse(self.server.handle, reader, writer)
        finally:
            self.writers.discard(writer)

    async def open(self):
        if self.listener is None and isinstance(self.where, str):
            self.listener = await asyncio.start_unix_server(self.talk, self.where, limit=HEAD_MAX)
        elif self.listener is None:
            self.listener = await asyncio.start_server(self.talk, *self.where, limit=HEAD_MAX)
        print(f"{self.server.server_name} is ready", flush=True)

    def close(self):
        if self.listener is not None:
            self.listener.close()
        self.listener = None
        for writer in self.writers:
            writer.transport.abort()
        print(f"{self.server.server_name} sleeps", flush=True)


async def serve(server, where):
    front, loop = Front(server, where), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, front.close)
    loop.add_signal_handler(signal.SIGUSR2, lambda: asyncio.ensure_future(front.open()))
    await front.open()
    await asyncio.Event().wait()


def place(text):
    """A path, or address:port."""
    if text.startswith("/"):
        return text
    host, _, port = text.rpartition(":")
    return host, int(port)


def main():
    parser = argparse.ArgumentParser(prog="support.homeserver", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server-name", required=True)
    parser.add_argument("--listen", required=True, type=place, help="address:port, or a path")
    parser.add_argument("--outbound", required=True, type=place, help="doorstep's outbound listener")
    parser.add_argument("--secret-file", required=True)
    args = parser.parse_args()
    with open(args.secret_file, encoding="ascii") as secret:
        server = Homeserver(args.server_name, args.outbound, secret.read().strip())
    try:
        asyncio.run(serve(server, args.listen))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.exit(f"{args.server_name}: {error}")


if __name__ == "__main__":
    main()
