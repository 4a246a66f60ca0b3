"""Child processes with a log file each, and the waiting that goes with them.

Children die with the process that started them, also when that one is killed.
"""

import os
import signal
import socket
import subprocess
import time

KEPT_ENVIRONMENT = ("PATH", "TMPDIR", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "PYTHONPATH")


class Failure(Exception):
    """What was needed cannot be had; the text says what to do."""


def wait_until(what, probe, seconds=10, every=0.02):
    """Calls probe until it returns something true, and returns that; says the last answer if not."""
    deadline = time.monotonic() + seconds
    while True:
        last = probe()
        if last:
            return last
        if time.monotonic() >= deadline:
            raise Failure(f"{what}: not within {seconds} s (last: {last!r})")
        time.sleep(every)


def require_free(address, port, kind=socket.SOCK_STREAM):
    """Refuses early, and by name, what would fail late in a log file."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except PermissionError as error:
            raise Failure(f"{address} port {port}: only root may listen there: run as root") from error
        except OSError as error:
            kind_name = "t" if kind == socket.SOCK_STREAM else "u"
            raise Failure(f"{address} port {port} is taken: stop what listens there "
                          f"(ss -l{kind_name}np 'sport = :{port}' shows it)") from error


def clean_env(**extra):
    """The environment of a service: nothing of the caller's proxies or Python settings."""
    env = {key: os.environ[key] for key in KEPT_ENVIRONMENT if key in os.environ}
    env["PATH"] = env.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    return {**env, "LANG": "C.UTF-8", **extra}


class Child:
    """One process; standard output and error go to the log."""

    def __init__(self, name, argv, log, files_max=None):
        self.name, self.log = name, log
        limit = ["prlimit", f"--nofile={files_max}:{files_max}", "--"] if files_max else []
        self.argv = ["setpriv", "--pdeathsig", "KILL", "--", *limit, *argv]
        self.child = None

    def start(self):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(self.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                          start_new_session=True, env=clean_env())

    @property
    def pid(self):
        return self.child.pid

    def ended(self):
        """The exit status, None while it runs."""
        return self.child.poll()

    def signal(self, number):
        self.child.send_signal(number)

    def wait(self, seconds=20):
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{self.name} does not end; {self.last_words()}") from error

    def stop(self, seconds=20):
        """Ends it in good order and returns the exit status; None when it never ran."""
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

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def last_words(self, lines=15):
        return f"its log {self.log} ends with:\n" + "\n".join(self.log_text().splitlines()[-lines:])

    def wait_ready(self, probe, seconds=20):
        def alive_and_ready():
            if self.ended() is not None:
                raise Failure(f"{self.name} ended with {self.ended()}; {self.last_words()}")
            return probe()

        wait_until(f"{self.name} to answer", alive_and_ready, seconds)
