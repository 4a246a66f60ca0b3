"""People whose client encrypts: a Node process with the real library, see people.js."""

import json
import os
import subprocess
import threading

from ..client import Unix
from ..process import WorldError, clean_env
from ..world import ROOT

NODE = os.path.join(ROOT, "build", "interop", "node")


class People:
    """One process for all of them; each order waits for its answer."""

    def __init__(self, log):
        if not os.path.isdir(os.path.join(NODE, "node_modules")):
            raise WorldError(f"{NODE} is missing: run tests/interop/sleep/install")
        script = os.path.join(os.path.dirname(__file__), "people.js")
        self.lock = threading.Lock()
        with open(log, "ab") as errors:
            # pylint: disable-next=consider-using-with
            self.child = subprocess.Popen(["node", script, NODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                          stderr=errors, start_new_session=True, env=clean_env(), text=True)

    def order(self, order, **more):
        with self.lock:
            self.child.stdin.write(json.dumps({"order": order, **more}) + "\n")
            self.child.stdin.flush()
            line = self.child.stdout.readline()
        answer = json.loads(line) if line else {"error": "the client process has ended"}
        if "error" in answer:
            raise WorldError(f"client: {order} {more}: {answer['error']}")
        return answer

    def login(self, name, synapse, password="correct horse"):
        """A new device of an account that exists."""
        client = synapse.client().login(name, password)
        endpoint = synapse.endpoint
        where = ({"socketPath": endpoint.path} if isinstance(endpoint, Unix) else
                 {"host": endpoint.address, "port": endpoint.port})
        started = self.order("start", name=name, user=client.user_id, token=client.token,
                             device=client.device_id, where=where, headers=endpoint.headers)
        return Person(self, name, client, started["crypto"])

    def stop(self):
        """Standard input's end is the process's end."""
        self.child.stdin.close()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdout.close()


class Person:
    """One encrypting device."""

    def __init__(self, people, name, client, crypto):
        self.people, self.name, self.crypto = people, name, crypto
        self.user_id, self.device_id = client.user_id, client.device_id

    def hurry(self):
        """The homeserver answers again; without this the library looks every few seconds."""
        self.people.order("hurry", name=self.name)

    def say(self, room, text):
        """The event id; the room must be encrypted."""
        sent = self.people.order("say", name=self.name, room=room, text=text)
        assert sent["wire"] in ("m.room.encrypted", None), f"{self.name} sent {sent['wire']} in the encrypted room"
        return sent["event_id"]

    def rekey(self, room):
        self.people.order("rekey", name=self.name, room=room)

    def read(self, room):
        return self.people.order("read", name=self.name, room=room)

    def event(self, room, event_id):
        return next((event for event in self.read(room)["events"] if event["event_id"] == event_id), None)

    def devices(self, user):
        return self.people.order("devices", name=self.name, user=user)["devices"]
