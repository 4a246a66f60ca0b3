"""One real Synapse, behind its door and unable to reach anything else.

It runs in a jail of namespaces: no name resolves in there, and with a unix socket for both
directions it has no network at all.
"""

import base64
import hashlib
import hmac
import json
import os
import subprocess

from .client import Client
from .process import Process, WorldError, clean_env

# Files that decide how a process resolves names; each is covered by an empty or a dull one.
JAIL_FILES = {
    "/etc/hosts": "127.0.0.1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "/etc/resolv.conf": "nameserver 127.0.0.254\noptions timeout:1 attempts:1\n",
}
JAIL_SCRIPT = """
jail=$1; shift
for file in /etc/hosts /etc/nsswitch.conf /etc/resolv.conf; do
	[ ! -e "$file" ] || mount --bind "$jail/${file##*/}" "$file" || exit 1
done
exec "$@"
"""
FAST = {"per_second": 10000, "burst_count": 10000}


class Synapse:
    """
    listen, outbound: {"address": ..., "port": ...} or {"path": ...}
    endpoint: how a test reaches the client API without passing the door
    """

    def __init__(self, server_name, venv, directory, endpoint, listen, outbound):
        self.server_name, self.directory = server_name, directory
        self.python = os.path.join(venv, "bin", "python")
        self.endpoint, self.listen, self.outbound = endpoint, listen, outbound
        self.isolated = "path" in listen and "path" in outbound
        self.log = os.path.join(directory, "homeserver.log")
        self.shared_secret = os.urandom(16).hex()
        self.process = None

    @property
    def secret_file(self):
        """The secret that its door asks for."""
        return os.path.join(self.directory, "outbound.secret")

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.directory, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="ascii") as out:
            out.write(text)
        return path

    def prepare(self):
        """Writes every file, so that the door can read the secret before Synapse runs."""
        if not os.access(self.python, os.X_OK):
            raise WorldError(f"{self.python} is missing: run tests/interop/install")
        os.makedirs(os.path.join(self.directory, "jail"), exist_ok=True)
        for path, text in JAIL_FILES.items():
            self.write(os.path.join("jail", os.path.basename(path)), text)
        self.write("outbound.secret", os.urandom(24).hex() + "\n", 0o600)
        seed = base64.b64encode(os.urandom(32)).decode().rstrip("=")
        self.write("signing.key", f"ed25519 a_one {seed}\n", 0o600)
        self.write("logging.yaml", json.dumps(self.logging()))
        self.write("homeserver.yaml", json.dumps(self.config(), indent=1))  # JSON is YAML, too

    def logging(self):
        return {
            "version": 1,
            "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(request)s %(message)s"}},
            "handlers": {"file": {"class": "logging.FileHandler", "formatter": "line", "filename": self.log}},
            "root": {"level": "INFO", "handlers": ["file"]},
        }

    def config(self):
        return {
            "server_name": self.server_name,
            "public_baseurl": f"https://matrix.{self.server_name}/",
            "listeners": [self.listener()],
            "instance_map": {"doorstep": self.instance()},
            "outbound_federation_restricted_to": ["doorstep"],
            "worker_replication_secret_path": self.secret_file,
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "report_stats": False,
            "database": {"name": "sqlite3", "args": {"database": self.path("homeserver.db")}},
            "media_store_path": self.path("media"),
            "signing_key_path": self.path("signing.key"),
            "log_config": self.path("logging.yaml"),
            "pid_file": self.path("homeserver.pid"),
            "registration_shared_secret": self.shared_secret,
            "macaroon_secret_key": os.urandom(16).hex(),
            "form_secret": os.urandom(16).hex(),
            "bcrypt_rounds": 4,
            "allow_public_rooms_over_federation": True,
            "room_list_publication_rules": [{"action": "allow"}],
            "encryption_enabled_by_default_for_room_type": "invite",
            **self.no_limits(),
        }

    def path(self, name):
        return os.path.join(self.directory, name)

    def listener(self):
        where = ({"path": self.listen["path"]} if "path" in self.listen else
                 {"bind_addresses": [self.listen["address"]], "port": self.listen["port"], "tls": False})
        return {"type": "http", "x_forwarded": True, "resources": [{"names": ["client", "federation"]}], **where}

    def instance(self):
        return ({"path": self.outbound["path"]} if "path" in self.outbound else
                {"host": self.outbound["address"], "port": self.outbound["port"]})

    @staticmethod
    def no_limits():
        return {
            "rc_message": FAST, "rc_room_creation": FAST, "rc_registration": FAST, "rc_invites": {
                "per_room": FAST, "per_user": FAST, "per_issuer": FAST},
            "rc_login": {"address": FAST, "account": FAST, "failed_attempts": FAST},
            "rc_joins": {"local": FAST, "remote": FAST}, "rc_joins_per_room": FAST,
            "rc_federation": {"window_size": 1000, "sleep_limit": 1000, "sleep_delay": 1,
                              "reject_limit": 1000, "concurrent": 100},
        }

    def start(self):
        """Begins the start, which takes some seconds; wait_ready ends it."""
        namespaces = ["--mount", "--propagation", "private", *(["--net"] if self.isolated else [])]
        argv = ["unshare", *namespaces, "--", "sh", "-c", JAIL_SCRIPT, "jail", self.path("jail"),
                self.python, "-m", "synapse.app.homeserver", "--config-path", self.path("homeserver.yaml")]
        self.process = Process(f"Synapse of {self.server_name}", argv, self.path("output.log"),
                               clean_env(HOME=self.directory))
        self.process.start()

    def wait_ready(self):
        self.process.wait_ready(lambda: self.client().health(), 90)

    def stop(self):
        return self.process.stop() if self.process else None

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def client(self):
        """An anonymous client, straight at the homeserver."""
        return Client(self.endpoint, self.server_name)

    def register(self, name, password="correct horse", admin=False):
        """Makes the account with the shared secret and returns its client, logged in."""
        client = self.client()
        nonce = client.call("GET", "/_synapse/admin/v1/register")["nonce"]
        text = "\0".join((nonce, name, password, "admin" if admin else "notadmin"))
        mac = hmac.new(self.shared_secret.encode(), text.encode(), hashlib.sha1).hexdigest()
        client.adopt(client.call("POST", "/_synapse/admin/v1/register", {
            "nonce": nonce, "username": name, "password": password, "admin": admin, "mac": mac}))
        return client

    def inside(self, *argv):
        """Runs a command where the homeserver runs."""
        kinds = ["--mount", *(["--net"] if self.isolated else [])]
        return subprocess.run(["nsenter", "--target", str(self.process.pid), *kinds, "--", *argv],
                              capture_output=True, text=True, check=False)
