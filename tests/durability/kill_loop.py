"""Kills the program under load, again and again, and looks what it left.

Shows what is acknowledged too early and what does not restart. It shows nothing about flushing: what was
written stays with the system. That is the business of crash_states.py.
"""

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time

from checker import Checker, problems
from model import Model


class Kills:
    def __init__(self):
        self.count = self.lost = self.acknowledgements = 0
        self.examples = []


def one_life(driver, kind, state_dir, seed, kib, model, chance):
    """Starts it, lets it work for a moment, kills it. Its lines go to the model."""
    process = subprocess.Popen([driver, "run", state_dir, kind, str(seed), "0", str(kib)],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    chunks = []
    until = time.monotonic() + chance.uniform(0.005, 0.12)
    os.set_blocking(process.stdout.fileno(), False)
    while time.monotonic() < until:
        chunk = process.stdout.read()
        if chunk:
            chunks.append(chunk)
        else:
            time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    os.set_blocking(process.stdout.fileno(), True)
    chunks.append(process.stdout.read())
    process.stdout.close()
    for line in b"".join(c for c in chunks if c).decode().splitlines():
        if line.startswith("refused"):
            return f"did not start: {line}"
        model.feed(line)
    return None


def run(driver, kind, times, report=print, seed=1, where=None):
    chance, kills, checker = random.Random(seed), Kills(), Checker(driver)
    base = tempfile.mkdtemp(prefix="durability.", dir=where)
    try:
        state_dir, model = None, None
        for n in range(times):
            if n % 25 == 0:  # many lives of one store, then another one
                state_dir, model = os.path.join(base, str(n)), Model()
                os.mkdir(state_dir)
            found = one_life(driver, kind, state_dir, seed * 100000 + n, 8192, model, chance)
            if found:
                found = [found]
            elif model.acknowledgements or os.path.exists(os.path.join(state_dir, "queue.store")):
                found = problems(model, checker, state_dir)  # before there is a store this would make one
            kills.count += 1
            kills.lost += bool(found)
            kills.examples += [f"kill {n}: {f}" for f in found or ()][:1]
            if n % 25 == 24 or n + 1 == times:
                kills.acknowledgements += model.acknowledgements
                report(f"{kind}: {n + 1} kills, {kills.acknowledgements} acknowledgements, "
                       f"{kills.lost} lost so far")
    finally:
        checker.close()
        shutil.rmtree(base, ignore_errors=True)
    return kills
