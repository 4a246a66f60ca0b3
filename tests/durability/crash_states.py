"""Rebuilds what a disk may hold after a power cut, from a log of journal_shim, and looks.

The disk that we assume owes nothing but what was promised to the program: bytes are there once the file was
flushed (or written through O_DSYNC), names once their directory was. Of what was not flushed any part
may be there, later writes without earlier ones, and of a write any of its sectors of 512 bytes.
"""

import os
import random
import shutil
import struct
import subprocess
import tempfile

from checker import Checker, problems
from model import Model

CREATE, WRITE, TRUNCATE, SYNC, SYNC_DIRECTORY, RENAME, UNLINK, MKDIR, SAYS = range(1, 10)
DURABLE = 1
HEAD = struct.Struct("=BBxxIQI")
SECTOR = 512


def read_log(path):
    with open(path, "rb") as file:
        data = file.read()
    at = 0
    while at < len(data):
        kind, flags, number, offset, length = HEAD.unpack_from(data, at)
        at += HEAD.size
        yield kind, flags, number, offset, data[at:at + length]
        at += length


class File:
    def __init__(self):
        self.durable = bytearray()
        self.pending = []  # (serial, "write", offset, bytes) or (serial, "truncate", length)
        self.version = 0

    def flush(self):
        if self.pending:
            for op in self.pending:
                apply(self.durable, op)
            self.pending = []
            self.version += 1


def apply(content, op):
    if op[1] == "truncate":
        if op[2] < len(content):
            del content[op[2]:]
        else:
            content.extend(bytes(op[2] - len(content)))
        return
    _, _, offset, data = op
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset:offset + len(data)] = data


def torn(op, chance):
    """Some sectors of a write."""
    serial, _, offset, data = op
    parts, at = [], 0
    while at < len(data):
        end = min(len(data), (offset + at) // SECTOR * SECTOR + SECTOR - offset)
        if chance.random() < 0.5:
            parts.append((serial, "write", offset + at, data[at:end]))
        at = end
    return parts


class Disk:
    def __init__(self):
        self.files = {}
        self.names = {}      # path -> number of a file, or None for a directory; durable
        self.pending = {}    # directory -> [(serial, kind, ...)]
        self.serial = 0

    def event(self, kind, flags, number, offset, data):
        self.serial += 1
        serial = self.serial
        if kind == CREATE:
            self.files[number] = File()
            self.name(serial, data.decode(), "create", number)
        elif kind == WRITE:
            op = serial, "write", offset, data
            if flags & DURABLE:
                apply(self.files[number].durable, op)
                self.files[number].version += 1
            else:
                self.files[number].pending.append(op)
        elif kind == TRUNCATE:
            self.files[number].pending.append((serial, "truncate", offset))
        elif kind == SYNC:
            self.files[number].flush()
        elif kind == SYNC_DIRECTORY:
            for op in self.pending.pop(data.decode(), []):
                self.apply_name(self.names, op)
        elif kind == RENAME:
            old, new = data.decode().split("\0")
            self.name(serial, old, "rename", new)
        elif kind == UNLINK:
            self.name(serial, data.decode(), "unlink", None)
        elif kind == MKDIR:
            self.name(serial, data.decode(), "mkdir", None)

    def name(self, serial, path, what, arg):
        self.pending.setdefault(os.path.dirname(path), []).append((serial, what, path, arg))

    @staticmethod
    def apply_name(names, op):
        _, what, path, arg = op
        if what == "create":
            names[path] = arg
        elif what == "mkdir":
            names[path] = None
        elif what == "unlink":
            names.pop(path, None)
        elif path in names:
            names[arg] = names.pop(path)

    def state(self, chance, keep):
        """A legal state: (signature, {path: content or None}). keep: how much of what was not flushed is there."""
        names, signature = dict(self.names), []
        for directory in sorted(self.pending):
            for op in self.pending[directory]:
                if chance.random() < keep:
                    self.apply_name(names, op)
                    signature.append(op[0])
        result = {}
        for path in sorted(names):
            number = names[path]
            if os.path.dirname(path) and names.get(os.path.dirname(path), 0) is not None:
                continue  # its directory is not there
            if number is None:
                result[path] = None
                continue
            file = self.files[number]
            signature += [path, number, file.version]
            content = file.durable
            ops = []
            for op in file.pending:
                if chance.random() >= keep:
                    continue
                if op[1] == "write" and 0 < keep < 1 and chance.random() < 0.4:
                    parts = torn(op, chance)
                    ops += parts
                    signature += [(p[0], p[2]) for p in parts]
                else:
                    ops.append(op)
                    signature.append(op[0])
            if ops:
                content = bytearray(content)
                for op in ops:
                    apply(content, op)
            result[path] = content
        return hash(tuple(signature)), result


def lay_down(state, where):
    shutil.rmtree(where, ignore_errors=True)
    os.mkdir(where)
    for path, content in state.items():  # sorted: directories first
        if content is None:
            os.mkdir(os.path.join(where, path))
        else:
            with open(os.path.join(where, path), "wb") as file:
                file.write(content)


def base():
    """Where much can be written and thrown away."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def scratch():
    return tempfile.mkdtemp(prefix="durability.", dir=base())


def record(driver, shim, kind, where, seed, operations, kib, fail=None):
    """Runs the driver under the shim. Returns the log's path and the exit status."""
    state_dir = os.path.join(where, "recorded")
    shutil.rmtree(state_dir, ignore_errors=True)
    os.mkdir(state_dir)
    log = os.path.join(where, "log")
    env = dict(os.environ, LD_PRELOAD=shim, SHIM_DIR=state_dir, SHIM_LOG=log)
    if fail:
        env["SHIM_FAIL"] = fail
    run = subprocess.run([driver, "run", state_dir, kind, str(seed), str(operations), str(kib)],
                         env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
                         timeout=120)
    return log, run.returncode


class Result:
    def __init__(self):
        self.states = self.lost = self.acknowledgements = 0
        self.examples = []

    def add(self, found, where):
        self.states += 1
        if found:
            self.lost += 1
            if len(self.examples) < 5:
                self.examples.append(f"{where}: {found[0]}")


def replay(log, checker, where, per_event, seed, result, stop_at_first):
    """Looks at states after each event that changes something."""
    disk, model = Disk(), Model()
    chance = random.Random(seed)
    seen = set()
    place = os.path.join(where, "state")
    for index, event in enumerate(read_log(log)):
        if event[0] == SAYS:
            for line in event[4].decode().splitlines():
                model.feed(line)
        else:
            disk.event(*event)
        # after an acknowledgement the promise counts; other lines only widen what is allowed
        if event[0] == SAYS and not event[4].startswith((b"A", b"W")):
            continue
        for n in range(per_event):
            keep = (0.0, 1.0, 0.5, 0.85, 0.15)[n % 5]
            signature, state = disk.state(chance, keep)
            if (signature, model.acknowledgements) in seen:
                continue
            seen.add((signature, model.acknowledgements))
            lay_down(state, place)
            use = result.states % 16 == 0 and not stop_at_first
            result.add(problems(model, checker, place, use), f"after event {index}")
            if stop_at_first and result.lost:
                return
    result.acknowledgements += model.acknowledgements


RUNS = {  # kind: (operations, KiB, states after each event)
    "lmdb": (300, 8192, 3),
    "journal": (350, 6144, 3),
}


def failures(seed):
    """Some of the calls fail: the disk is full, or broken."""
    chance = random.Random(seed)
    at, text = 10, []
    while len(text) < 14:
        at += chance.randrange(3, 60)
        text.append(f"{at}:{chance.choice((5, 28))}")
    return ",".join(text)


def run(driver, shim, kind, report=print, seed=1, stop_at_first=False, scale=1.0):
    """All states of three recorded runs: one undisturbed, two where calls fail."""
    operations, kib, per_event = RUNS[kind]
    result, where, checker = Result(), scratch(), Checker(driver)
    try:
        for n, fail in enumerate((None, failures(seed), failures(seed + 1))):
            ops = int(operations * scale) if fail is None else int(operations * scale / 3)
            log, status = record(driver, shim, kind, where, seed + n, ops, kib, fail)
            if status not in (0, 3):
                result.add([f"the driver died with status {status}"], "recording")
            before = result.states
            replay(log, checker, where, per_event, seed + n, result, stop_at_first)
            report(f"{kind}: {result.states - before} states of a run"
                   f"{' with failing calls' if fail else ''}, {result.lost} lost so far")
            if stop_at_first and result.lost:
                break
    finally:
        checker.close()
        shutil.rmtree(where, ignore_errors=True)
    return result
