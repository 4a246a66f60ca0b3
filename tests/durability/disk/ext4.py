"""LMDB and the journal on ext4, on a disk whose power is cut.

The driver works in a virtual machine on a disk that writes down what it is sent. What the driver tells goes to
another partition of the same disk, past all caches: so the log itself says what had been acknowledged before
each write. Other machines then mount what the disk may hold, which lets ext4 recover, and look.
"""

import os
import random
import struct
import subprocess

import block_log
import vm
from look import Result, look
from model import Model

FILE_SYSTEM_AT = vm.MIB
TOLD_AT = FILE_SYSTEM_AT + vm.DISK_BYTES
DISK_BYTES = TOLD_AT + 8 * vm.MIB
OPERATIONS, KIB = 320, 8192


class Way:
    """How the driver is run."""

    def __init__(self, name, before, options, share):
        self.name = name
        self.before = before    # goes before the program
        self.options = options  # of the mount
        self.share = share      # of the states wanted
        self.must_lose = name != "flushed"


WAYS = (Way("flushed", "", "", 1),
        Way("not flushed", "LD_PRELOAD=/lib/no_flush.so", "-o commit=1", 0.2),
        Way("barriers off", "", "-o nobarrier", 0.2))
HASTY = ("echo 10 >/proc/sys/vm/dirty_writeback_centisecs;"  # what is not flushed is written soon, too
         "echo 20 >/proc/sys/vm/dirty_expire_centisecs")


def make_disk(path):
    """Two partitions: an ext4, and room for what the driver tells."""
    def partition(start, size):
        return struct.pack("<4xB3xII", 0x83, start // 512, size // 512)
    with open(path, "wb") as file:
        file.truncate(DISK_BYTES)
        file.seek(446)
        file.write(partition(FILE_SYSTEM_AT, vm.DISK_BYTES) +
                   partition(TOLD_AT, DISK_BYTES - TOLD_AT) + bytes(32) + b"\x55\xaa")
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-b", "4096", "-J", "size=4", "-E",
                    f"offset={FILE_SYSTEM_AT},nodiscard,lazy_itable_init=0,lazy_journal_init=0",
                    path, f"{vm.DISK_BYTES // 1024}k"], check=True)


class Recording:
    """A run of the driver: the disk as it was, and the log of what it was sent."""

    def __init__(self, where, kind, way):
        self.kind, self.way = kind, way
        stem = os.path.join(where, f"{kind}.{way.name.replace(' ', '-')}")
        self.disk, self.log = stem + ".disk", stem + ".log"
        make_disk(self.disk)
        with open(self.disk, "rb") as file:
            file.seek(FILE_SYSTEM_AT)
            self.content = bytearray(file.read(vm.DISK_BYTES))
        with open(self.log, "wb"):
            pass

    def run(self, machine, number, seed, operations):
        disk, place = machine.disk(number), f"/m/{number}"
        machine.do(f"mkdir -p {place} && mount -t ext4 {self.way.options} {disk}1 {place}")
        machine.do(f"mkdir {place}/s && sync")
        lines, status = machine.ask(f"export TELL={disk}2 {self.way.before}; exec queue_driver run "
                                    f"{place}/s {self.kind} {seed} {operations} {KIB}")
        if status != 0:
            raise vm.Stuck(f"the driver ended with status {status} on ext4: {' / '.join(lines)}")


def record(kernel, archive, where, kind, seed, operations):
    recordings = [Recording(where, kind, way) for way in WAYS]
    machine = vm.Machine(kernel, archive, os.path.join(where, f"record.{kind}"),
                         [(r.disk, r.log) for r in recordings])
    try:
        machine.do(HASTY)
        for number, recording in enumerate(recordings):
            recording.run(machine, number, seed, operations)
    finally:
        machine.cut()
    return recordings


def told_lines(data):
    return data.rstrip(b"\0").decode().splitlines()


def instants(log, told, wanted, chance):
    """Commands after which to look: rather where much is not flushed."""
    disk, keys = block_log.Disk(bytearray(vm.DISK_BYTES), FILE_SYSTEM_AT), []
    for n, command in enumerate(log[:told[-1] + 1]):
        disk.command(*command)
        if n >= told[0]:
            keys.append((chance.random() ** (1 / (0.25 + min(4, len(disk.pending)))), n))
    return {n for _, n in sorted(keys)[-wanted:]}


def states(recording, seed, wanted):
    """Each: (where, model, what is flushed, changes to it)."""
    log = list(block_log.entries(recording.log))
    told = [n for n, (offset, _, data) in enumerate(log) if offset >= TOLD_AT and data]
    chance = random.Random(seed)
    at = instants(log, told, wanted + wanted // 4, chance)
    disk, model = block_log.Disk(recording.content, FILE_SYSTEM_AT), Model()
    seen = set()
    for n, (offset, flags, data) in enumerate(log[:told[-1] + 1]):
        disk.command(offset, flags, data)
        if offset >= TOLD_AT and data:
            for line in told_lines(data):
                model.feed(line)
        if n not in at:
            continue
        signature, changes = disk.state(chance, block_log.KEEPS[len(seen) % len(block_log.KEEPS)])
        if (signature, model.acknowledgements) not in seen:
            seen.add((signature, model.acknowledgements))
            yield f"after command {n} of {len(log)}", model, disk.content, changes


def lay_down(machine, content, changes):
    machine.memory[vm.DISK_AT:vm.DISK_AT + len(content)] = content
    for offset, data in changes:
        at = vm.DISK_AT + offset
        machine.memory[at:at + len(data)] = data


def run(kernel, archive, where, kind, report=print, seed=1, wanted=240):
    """[(way, result)]"""
    results = []
    recordings = record(kernel, archive, where, kind, seed, OPERATIONS)
    machine = vm.Machine(kernel, archive, os.path.join(where, f"look.{kind}"))
    try:
        for recording in recordings:
            way, result = recording.way, Result()
            for at, model, content, changes in states(recording, seed, int(wanted * way.share)):
                lay_down(machine, content, changes)
                result.add(look(machine, "ext4 /dev/pmem0", model), f"{kind} on ext4, {way.name}, {at}")
                result.acknowledgements = model.acknowledgements
            report(f"{kind} on ext4, {way.name}: {result.states} states of a disk, "
                   f"{result.acknowledgements} acknowledgements, {result.lost} lost")
            results.append((way, result))
    finally:
        machine.cut()
    return results
