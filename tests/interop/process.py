"""Child processes with a log file each, and the waiting that goes with them.

Children die with the process that started them, also when that one is killed.
"""

import os
import signal
import socket
import subprocess
import time


class WorldError(Exception):
    """The world cannot start or has broken; the text says what to do."""


def wait_until(what, probe, seconds, explain=lambda: ""):
    """Calls probe until it returns something true, and returns that.

    Fails with the last falsy result, or the last OSError, in the message, and with what explain says.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            last = probe()
            if last:
                return last
        except OSError as error:
            last = error
        if time.monotonic() >= deadline:
            raise WorldError(f"{what}: not within {seconds} s (last: {last!r}){explain()}")
        time.sleep(0.1)


def require_free(address, port, kind=socket.SOCK_STREAM):
    """Refuses early, and by name, what would fail late in a log file."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except PermissionError as error:
            raise WorldError(f"{address}:{port}: only root may listen here; run as root") from error
        except OSError as error:
            raise WorldError(f"{address}:{port} is taken ({error.strerror}): "
                             f"stop what listens there (ss -lptn 'sport = :{port}')") from error


class Process:
    """One child; standard output and error go to the log."""

    def __init__(self, name, argv, log, env=None):
        self.name, self.argv, self.log, self.env = name, argv, log, env
        self.child = None

    def start(self):
        with open(self.log, "ab") as log:
            try:
                self.child = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "TERM", "--", *self.argv], stdout=log, stderr=log,
                    stdin=subprocess.DEVNULL, start_new_session=True, env=self.env,
                    cwd=os.path.dirname(self.log))
            except FileNotFoundError as error:
                raise WorldError(f"{self.name}: {error.filename} is not installed") from error

    @property
    def pid(self):
        return self.child.pid

    def signal(self, number):
        self.child.send_signal(number)

    def last_words(self, lines=15):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as log:
                return f"its log {self.log} ends with:\n" + "".join(log.readlines()[-lines:])
        except OSError:
            return f"it has no log at {self.log}\n"

    def check(self):
        """Raises when the child has ended."""
        status = self.child.poll()
        if status is not None:
            raise WorldError(f"{self.name} ended with {status}\n{self.last_words()}")
        return True

    def wait_ready(self, probe, seconds):
        wait_until(f"{self.name} to answer", lambda: self.check() and probe(), seconds,
                   lambda: f"\n{self.last_words()}")

    def stop(self, seconds=10):
        """Ends the child and returns its exit status; None when it never ran."""
        if self.child is None:
            return None
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        return self.child.returncode


def clean_env(**extra):
    """The environment of a service: nothing of the caller's proxies or Python settings."""
    keep = ("PATH", "TMPDIR", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")
    env = {key: os.environ[key] for key in keep if key in os.environ}
    env["PATH"] = env.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    return {**env, "LANG": "C.UTF-8", **extra}
