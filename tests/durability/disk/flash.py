"""JFFS2 and UBIFS on a chip of flash memory that keeps what it had when the power went.

The chip is mtdram: NOR, 64 KiB a block. The machine is stopped at some instant, in the middle of a write too, and
what its chip holds then is copied from outside: flash has no cache, and a driver waits for each operation, so
that is what is left. The page cache is not: another machine gets the copy and mounts it. What the driver
tells lies at a fixed place in memory and is copied at the same instant. Of two instants so close that all
that changed between them is one piece of one block, its beginning with a half-programmed byte is a state too.
"""

import random
import time

import vm
from chip import BYTES, ERASE_BYTES, NUMBER, Chip
from look import Result, look
from model import Model

ATTACH_TO = "ubiattach -m {} >/dev/null"
DETACH_FROM = "ubidetach -m {} >/dev/null"
SECTOR = 512
KIB = 4096


def forget_told(machine):
    machine.memory[vm.TOLD_AT:vm.TOLD_AT + vm.TOLD_BYTES] = bytes(vm.TOLD_BYTES)


def lines_told(memory):
    """What stands whole beside the chip."""
    lines, at = [], vm.TOLD_AT
    while memory[at]:
        end = at
        while memory[end + SECTOR - 1]:  # a line fills this sector up
            end += SECTOR
        text = memory[at:end + SECTOR].rstrip(b"\0")
        if not text.endswith(b"\n"):
            break
        lines.append(text.decode().rstrip("\n"))
        at = end + SECTOR
    return lines


class Instant:
    def __init__(self, place):
        self.flash = place.chip.read()
        self.lines = lines_told(place.machine.memory)


def one_piece(before, after):
    """The range of what was programmed in between, if that is one piece of one block; else None."""
    size, changed = ERASE_BYTES, []
    for at in range(0, BYTES, size):
        if before[at:at + size] != after[at:at + size]:
            changed.append(at)
    if len(changed) != 1:
        return None
    start, end = changed[0], changed[0] + size
    while before[start] == after[start]:
        start += 1
    while before[end - 1] == after[end - 1]:
        end -= 1
    return (start, end) if before[start:end].count(0xFF) == end - start else None


def torn(before, after, chance):
    """The chip in the middle of it, or None."""
    piece = one_piece(before.flash, after.flash)
    if piece is None:
        return None
    start, cut = piece[0], chance.randrange(*piece)
    half = after.flash[cut] | chance.randrange(256)  # programming clears bits
    return before.flash[:start] + after.flash[start:cut] + bytes([half]) + before.flash[cut + 1:]


def model_of(lines, maybe=()):
    """maybe: told later; what began there may have begun."""
    model = Model()
    for line in lines:
        model.feed(line)
    for line in maybe:
        if line.startswith(("S ", "V ")):
            model.feed(line)
    return model


class Run:
    """The driver works in one machine, what its chip holds is looked at in the other."""

    def __init__(self, writer, looker, kind, seed):
        self.writer, self.looker, self.kind = writer, looker, kind
        self.chance, self.result = random.Random(seed), Result()
        self.device = "ubi0_0" if kind == "ubifs" else f"mtd{NUMBER}"
        self.around = ("true", "true")
        if kind == "ubifs":
            self.around = ATTACH_TO.format(NUMBER), DETACH_FROM.format(NUMBER)

    def begin(self, store, seed, before, program):
        machine = self.writer.machine
        self.writer.chip.erase()
        forget_told(machine)
        machine.do(self.around[0])
        if self.kind == "ubifs":
            machine.do("ubimkvol /dev/ubi0 -N store -m >/dev/null")
        machine.do(f"mount -t {self.kind} {self.device} /m && mkdir /m/s && sync")
        machine.do(f"export TELL=/dev/mtd1 {before}; "
                   f"{program} run /m/s {store} {seed} 0 {KIB} >/tmp/said 2>&1 & true")

    def end(self, program):
        self.writer.machine.ask(f"killall -9 {program}; while pidof {program}; do usleep 10000; done")
        self.writer.machine.do("umount /m && " + self.around[1])

    def instant(self, seconds):
        self.writer.machine.go_on()
        time.sleep(seconds)
        self.writer.machine.stop()
        return Instant(self.writer)

    def work(self, told):
        """Until it has told some more lines, so that a slow machine gets somewhere too."""
        self.writer.machine.go_on()
        goal = told + self.chance.randrange(8)
        until = time.monotonic() + 5
        while len(lines_told(self.writer.machine.memory)) < goal and time.monotonic() < until:
            time.sleep(0.002)

    def look(self, flash, model, where):
        self.looker.chip.write(flash)
        self.result.add(look(self.looker.machine, f"{self.kind} {self.device}", model, *self.around), where)

    def states(self, wanted):
        told = 0
        while self.result.states < wanted and told * SECTOR < vm.TOLD_BYTES // 2:
            self.work(told)
            first = self.instant(self.chance.uniform(0, 0.02))
            second = self.instant(self.chance.uniform(0.0001, 0.002))
            told = len(second.lines)
            model = model_of(second.lines)
            self.result.acknowledgements = model.acknowledgements
            where = f"{self.kind}, after {told} steps"
            self.look(second.flash, model, where)
            flash = torn(first, second, self.chance)
            if flash:
                self.result.torn += 1
                model = model_of(first.lines, second.lines[len(first.lines):])
                self.look(flash, model, where + ", torn")
        self.writer.machine.go_on()


class Place:
    def __init__(self, machine):
        self.machine, self.chip = machine, Chip(machine)


def choice(place):
    """What is wrong with how a kind of store is chosen on JFFS2, where LMDB cannot be."""
    machine = place.machine
    place.chip.erase()
    machine.do(f"mount -t jffs2 mtd{NUMBER} /m && mkdir /m/s /m/t")
    refused, status = machine.ask(f"queue_driver run /m/t lmdb 1 20 {KIB}")
    taken, taken_status = machine.ask(f"queue_driver run /m/s auto 1 40 {KIB}")
    machine.do("umount /m")
    if status != 3 or "no shared writable mappings" not in refused[-1]:
        return [f"LMDB on JFFS2 is not refused with a sentence: {refused[-1:]}"]
    if taken_status != 0 or taken[0] != "kind journal" or taken[-1] != "end":
        return [f"the journal does not take over on JFFS2: {taken[:1]}"]
    return look(machine, f"jffs2 mtd{NUMBER}", model_of(taken))


def run(writer, looker, kind, store, wanted, before="", program="queue_driver", seed=1):
    """before: what goes before the program."""
    one = Run(writer, looker, kind, seed)
    one.begin(store, seed, before, program)
    one.states(wanted)
    one.end(program)
    return one.result
