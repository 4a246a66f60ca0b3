"""UBIFS on simulated NAND (nandsim), where pages are programmed whole and have spare bytes and checksums.

Its memory cannot be copied from outside. So the driver is stopped between two system calls, the chip is read twice
in the machine, until both are the same, and written to a second chip there, which is mounted: what was
only in the page cache is lost, but no operation of the chip is ever seen half done.
"""

import random
import time

import vm
from flash import ATTACH_TO, DETACH_FROM, KIB, forget_told, lines_told, model_of
from look import Result, look

CHIP = ("insmod /modules/nandsim.ko first_id_byte=0x20 second_id_byte=0xa1 third_id_byte=0x00 "
        "fourth_id_byte=0x15 parts=80,80")  # 2 KiB a page, 128 KiB a block, twice 10 MiB
FIRST, SECOND = 3, 4
STOP = ("p=$(pidof queue_driver) && kill -STOP $p && "
        "until ! grep -qv ') [TtZ] ' /proc/$p/task/*/stat; do usleep 1000; done")
COPY = (f"while cat /dev/mtd{FIRST} >/tmp/chip && ! cmp -s /tmp/chip /dev/mtd{FIRST}; do :; done; "
        f"flash_erase -q /dev/mtd{SECOND} 0 0 && nandwrite -q /dev/mtd{SECOND} /tmp/chip")


def begin(machine, seed):
    forget_told(machine)
    machine.do(CHIP)
    machine.do(ATTACH_TO.format(FIRST))
    machine.do("ubimkvol /dev/ubi0 -N store -m >/dev/null && mount -t ubifs ubi0_0 /m && mkdir -p /m/s /n && sync")
    machine.do(f"export TELL=/dev/mtd1; queue_driver run /m/s auto {seed} 0 {KIB} >/tmp/said 2>&1 & true")


def run(place, wanted, seed=1):
    machine, result, chance = place.machine, Result(), random.Random(seed)
    begin(machine, seed)
    told = 0
    while result.states < wanted:
        until, goal = time.monotonic() + 5, told + chance.randrange(20)
        while len(lines_told(machine.memory)) < goal and time.monotonic() < until:
            time.sleep(0.005)
        machine.do(STOP)
        lines = lines_told(machine.memory)
        told, model = len(lines), model_of(lines)
        machine.do(COPY)
        result.acknowledgements = model.acknowledgements
        result.add(look(machine, "ubifs ubi1_0", model, ATTACH_TO.format(SECOND), DETACH_FROM.format(SECOND),
                        "/n"), f"ubifs on nandsim, after {told} steps")
        machine.do("kill -CONT $(pidof queue_driver)")
        if told * 512 > vm.TOLD_BYTES // 2:
            break
    if lines_told(machine.memory)[0] != "kind lmdb":
        result.add(["LMDB was not chosen"], "ubifs")
    machine.ask("killall -9 queue_driver; while pidof queue_driver; do usleep 10000; done")
    machine.do(f"umount /m && {DETACH_FROM.format(FIRST)} && rmmod nandsim")
    return result
