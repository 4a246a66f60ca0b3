"""One doorstep: its configuration, its process and what it says about itself."""

import json
import os
import re
import signal
import subprocess

from .process import Child, Failure, clean_env, wait_until

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
STAYING = {"answers_bytes", "answers_items"}  # gauges of what is in memory when nothing is going on
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|runtime error:|WARNING: \w+Sanitizer|detected memory leaks")


def executable():
    """DOORSTEP in the environment, else the build with sanitizers."""
    path = os.environ.get("DOORSTEP") or os.path.join(ROOT, "build", "debug", "doorstep")
    if not os.access(path, os.X_OK):
        raise Failure(f"no doorstep at {path}: run scripts/test, or set DOORSTEP")
    return os.path.abspath(path)


def release_executable():
    """What users get, for measurements."""
    path = os.environ.get("DOORSTEP_RELEASE") or os.path.join(ROOT, "build", "release", "doorstep")
    if not os.access(path, os.X_OK):
        raise Failure(f"no doorstep at {path}: run scripts/build, or set DOORSTEP_RELEASE")
    return os.path.abspath(path)


def uci(sections):
    """[(type, name, {option: value or [values]})] as UCI text; an option of None is left out."""
    lines = []
    for kind, name, options in sections:
        lines.append(f"config {kind} '{name}'")
        for option, value in options.items():
            if value is None:
                continue
            word = "list" if isinstance(value, list) else "option"
            lines += [f"\t{word} {option} '{item}'" for item in (value if isinstance(value, list) else [value])]
        lines.append("")
    return "\n".join(lines)


class Door:
    """
    directory  short: the path of the control socket has 107 bytes at most
    sections   as for uci(); "doorstep 'main'" gets what it lacks
    """

    def __init__(self, directory, sections, program=None, files_max=None):
        os.makedirs(directory, exist_ok=True)
        self.directory, self.program = directory, program or executable()
        self.config = os.path.join(directory, "doorstep.conf")
        self.control = os.path.join(directory, "control.sock")
        self.sections = sections
        self.write_config(sections)
        self.child = Child("doorstep", [self.program, "serve", "--config", self.config],
                           os.path.join(directory, "doorstep.log"), files_max)

    def main_section(self, options):
        return ("doorstep", "main", {"enabled": "1", "control": self.control, "log_level": "debug", **options})

    def write_config(self, sections):
        self.sections = sections
        full = [self.main_section(options) if kind == "doorstep" else (kind, name, options)
                for kind, name, options in sections]
        if not any(kind == "doorstep" for kind, _, _ in full):
            full.insert(0, self.main_section({}))
        self.write_text(uci(full))

    def write_text(self, text):
        with open(self.config + ".new", "w", encoding="utf-8") as out:
            out.write(text)
        os.replace(self.config + ".new", self.config)

    def run(self, *args, seconds=30):
        return subprocess.run([self.program, *args], capture_output=True, text=True, timeout=seconds,
                              check=False, env=clean_env(), stdin=subprocess.DEVNULL)

    def start(self):
        self.child.start()
        self.child.wait_ready(lambda: self.run("status", "--socket", self.control).returncode == 0)
        return self

    def status(self):
        """The status document."""
        done = self.run("status", "--json", "--socket", self.control)
        if done.returncode:
            raise Failure(f"doorstep status: {done.stdout}{done.stderr}{self.child.last_words()}")
        return json.loads(done.stdout)

    def counters(self):
        return self.status()["counters"]

    def counted(self, name):
        return self.counters()[name]

    def causes(self, name):
        """{cause: count} of a counter by cause, without the zeros."""
        return {cause: count for cause, count in self.status()["causes"][name].items() if count}

    def gauges(self):
        """{gauge: used} of those that are not zero, although they should be in the end."""
        return {name: gauge["used"] for name, gauge in self.status()["gauges"].items()
                if gauge["used"] and name not in STAYING}

    def gauge(self, name):
        return self.status()["gauges"][name]["used"]

    def settle(self, seconds=20):
        """Waits until every gauge is back to zero."""
        try:
            wait_until("every gauge to be zero", lambda: not self.gauges(), seconds, every=0.1)
        except Failure as error:
            raise Failure(f"{error}: {self.gauges()}; {self.child.last_words()}") from error

    def wait_counter(self, name, least, seconds=20):
        wait_until(f"counter {name} to reach {least}", lambda: self.counted(name) >= least, seconds, every=0.05)

    def wait_gauge(self, name, value, seconds=20):
        wait_until(f"gauge {name} to be {value}", lambda: self.gauge(name) == value, seconds, every=0.05)

    def reload(self, refused=False):
        """SIGHUP, and the end of it."""
        counter = "reloads_refused" if refused else "reloads"
        before = self.counted(counter)
        self.child.signal(signal.SIGHUP)
        self.wait_counter(counter, before + 1)

    def resolve(self, name):
        """(exit status, document) of the verb."""
        done = self.run("resolve", name, "--json", "--config", self.config)
        return done.returncode, json.loads(done.stdout)

    def memory(self, key="VmHWM"):
        """A figure of /proc/PID/status, in KiB."""
        with open(f"/proc/{self.child.pid}/status", encoding="ascii") as lines:
            for line in lines:
                if line.startswith(key + ":"):
                    return int(line.split()[1])
        raise Failure(f"no {key} for process {self.child.pid}")

    def open_files(self):
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def stop(self):
        """Ends it and says what was wrong with it, "" if nothing."""
        status = self.child.stop()
        if status not in (0, None):
            return f"doorstep ended with {status}; {self.child.last_words(40)}"
        reports = [line for line in self.child.log_text().splitlines() if SANITIZER.search(line)]
        return f"sanitizer: {reports}; {self.child.last_words(60)}" if reports else ""
