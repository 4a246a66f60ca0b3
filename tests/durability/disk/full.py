"""File systems that others fill up to the last byte under a driver, on the kinds of medium that routers have.

It is killed then, and started again on the full disk: it must deliver all that waits. Or it goes on: it refuses, and
lives. On flash even a change of nothing needs room: a new time of a file, a page of a mapped file.

What it has put by for that (the ballast) lasts for a while of going on, not forever: if nothing becomes free meanwhile
a verdict cannot be written any more, and what was delivered is delivered again. Nothing is lost by that.
"""

import os
import time

import vm
from chip import NUMBER
from ext4 import FILE_SYSTEM_AT, make_disk
from flash import ATTACH_TO, DETACH_FROM, KIB, forget_told, lines_told, model_of
from look import items_of
from nand import STOP

FILL = ("dd if=/dev/urandom of=/m/large bs=65536 2>/dev/null; dd if=/dev/urandom of=/m/small bs=512 2>/dev/null; "
        "i=0; while echo >/m/$i; do i=$((i+1)); done 2>/dev/null; sync")


def mount(place, kind, where):
    machine = place.machine
    forget_told(machine)
    if kind == "ext4":
        make_disk(os.path.join(where, "full.disk"))
        with open(os.path.join(where, "full.disk"), "rb") as file:
            file.seek(FILE_SYSTEM_AT)
            machine.memory[vm.DISK_AT:vm.DISK_AT + vm.DISK_BYTES] = file.read(vm.DISK_BYTES)
        machine.do("mount -t ext4 /dev/pmem0 /m && mkdir /m/s")
        return
    place.chip.erase()
    if kind == "ubifs":
        machine.do(ATTACH_TO.format(NUMBER) + " && ubimkvol /dev/ubi0 -N store -m >/dev/null")
    machine.do(f"mount -t {kind} {'ubi0_0' if kind == 'ubifs' else f'mtd{NUMBER}'} /m && mkdir /m/s")


def begin(machine, store, seed):
    """Stopped in the middle of its work, with the disk full."""
    machine.do(f"export TELL=/dev/mtd1; queue_driver run /m/s {store} {seed} 0 {KIB} >/tmp/said 2>&1 & true")
    until = time.monotonic() + 60
    while len(lines_told(machine.memory)) < 150 and time.monotonic() < until:
        time.sleep(0.02)
    machine.do(STOP + "; " + FILL)


def go_on(machine):
    told = len(lines_told(machine.memory))
    machine.do("kill -CONT $(pidof queue_driver); sleep 1; sync; sleep 1")
    _, is_there = machine.ask("pidof queue_driver")
    if is_there != 0 or len(lines_told(machine.memory)) <= told:
        said = " / ".join(machine.do("tail -2 /tmp/said"))
        return [f"the driver died, or stood still, when the disk was full: {said}"]
    return []


def look(machine, lines):
    items, report, _ = items_of(machine.ask("echo /m/s | queue_driver check")[0])
    return ["the check died"] if report is None else model_of(lines).problems(items, report)


def drain(machine, lines):
    drained, status = machine.ask("queue_driver drain /m/s 2>/dev/null")
    if status != 0 or drained[-1] != "end":
        return [f"what waits cannot be delivered: status {status}, {drained[-1:]}"]
    return look(machine, lines + drained)


def run(place, kind, store, goes_on, where, seed=1):
    """What is wrong: at most one."""
    machine = place.machine
    mount(place, kind, where)
    begin(machine, store, seed)
    found = go_on(machine) if goes_on else []
    machine.ask("killall -9 queue_driver; while pidof queue_driver; do usleep 10000; done")
    lines = lines_told(machine.memory)
    found = found or (look if goes_on else drain)(machine, lines)
    machine.do("umount /m" + (" && " + DETACH_FROM.format(NUMBER) if kind == "ubifs" else ""))
    return found[:1]
