"""One doorstep: its configuration, its process and what it says about itself."""

import json
import os
import re
import signal
import subprocess

from .process import Process, WorldError, clean_env

SANITIZER = re.compile(r"ERROR: \w+Sanitizer|runtime error:|WARNING: \w+Sanitizer|detected memory leaks")


def executable():
    """DOORSTEP in the environment, else the sanitizer build, else the release build."""
    root = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
    choices = ([os.environ["DOORSTEP"]] if os.environ.get("DOORSTEP") else
               [os.path.join(root, "build", kind, "doorstep") for kind in ("debug", "release")])
    for path in choices:
        if os.access(path, os.X_OK):
            return os.path.abspath(path)
    raise WorldError(f"no doorstep at {' or '.join(choices)}: run scripts/build, or set DOORSTEP")


def uci(sections):
    """[(type, name, {option: value or [values]})] as UCI text."""
    lines = []
    for kind, name, options in sections:
        lines.append(f"config {kind} '{name}'")
        for option, value in options.items():
            items = value if isinstance(value, list) else [value]
            word = "list" if isinstance(value, list) else "option"
            lines += [f"\t{word} {option} '{item}'" for item in items]
        lines.append("")
    return "\n".join(lines)


class Door:
    def __init__(self, name, directory, run_directory, sections):
        """run_directory holds the control socket: its path must stay short."""
        self.name = name
        self.program = executable()
        self.control = os.path.join(run_directory, "control.sock")
        self.config = os.path.join(directory, "doorstep.conf")
        self.log = os.path.join(directory, "doorstep.log")
        state = os.path.join(directory, "state")
        os.makedirs(state, exist_ok=True)
        main = ("doorstep", "main", {"enabled": "1", "state_dir": state, "control": self.control,
                                     "log_level": "info", **sections.pop(0)})
        with open(self.config, "w", encoding="utf-8") as out:
            out.write(uci([main, *sections]))
        self.process = Process(f"doorstep of {name}", [self.program, "serve", "--config", self.config],
                               self.log, clean_env())

    def run(self, *args):
        return subprocess.run([self.program, *args], capture_output=True, text=True, timeout=30,
                              check=False, env=clean_env())

    def start(self):
        checked = self.run("config", "check", self.config)
        if checked.returncode:
            raise WorldError(f"doorstep of {self.name}: config check ended with {checked.returncode}\n"
                             f"{checked.stdout}{checked.stderr}")
        self.process.start()
        self.process.wait_ready(lambda: self.run("status", "--socket", self.control).returncode == 0, 20)

    def reload(self):
        self.process.signal(signal.SIGHUP)

    def stop(self):
        return self.process.stop()

    def status(self):
        """The status document."""
        done = self.run("status", "--json", "--socket", self.control)
        assert done.returncode == 0, f"doorstep status: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def resolve(self, name):
        done = self.run("resolve", name, "--json", "--config", self.config)
        return done.returncode, json.loads(done.stdout)

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def sanitizer_reports(self):
        return [line for line in self.log_text().splitlines() if SANITIZER.search(line)]
