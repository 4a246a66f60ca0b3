"""Power cuts of whole disks and chips, in virtual machines; see ext4.py, flash.py and nand.py for how.

    cuts.py KERNEL BUILD [lmdb | journal | flash]

runs one of them, or all, for looking into something.
"""

import functools
import os
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

# pylint: disable=wrong-import-position
import ext4
import flash
import full
import mutants
import nand
import vm

SHIM = "LD_PRELOAD=/lib/no_flush.so"
HASTY = "acknowledged before the commit"
LEAST = 20  # acknowledgements: a run with less shows nothing


class Outcome:
    """Of one kind of medium, or of all."""

    def __init__(self):
        self.states = {}                     # kind: how many
        self.lost = 0                        # of these
        self.unflushed = self.noticed = 0    # states where nothing was flushed, and those that lost something
        self.bad, self.examples = 0, []

    def good(self, kind, result):
        """Nothing may be lost."""
        self.states[kind] = self.states.get(kind, 0) + result.states
        self.lost += result.lost
        self.examples += result.examples
        if result.acknowledgements < LEAST:
            self.wrong(f"{kind}: only {result.acknowledgements} acknowledgements")

    def broken(self, kind, result, counts=True):
        """Something must be lost."""
        self.unflushed += result.states if counts else 0
        self.noticed += result.lost if counts else 0
        if not result.lost:
            self.wrong(f"{kind}: nothing was lost in {result.states} states")

    def wrong(self, text):
        self.bad += 1
        self.examples.append(text)

    def add(self, other):
        for kind, states in other.states.items():
            self.states[kind] = self.states.get(kind, 0) + states
        for name in ("lost", "unflushed", "noticed", "bad", "examples"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def sentence(self):
        kinds = ", ".join(f"{kind} {states}" for kind, states in self.states.items())
        return (f"disk states {sum(self.states.values())} ({kinds}), lost {self.lost}; "
                f"without flushing {self.noticed} of {self.unflushed} states lost something")


def on_ext4(store, kernel, archive, where, wanted, report):
    outcome, kind = Outcome(), f"{'LMDB' if store == 'lmdb' else store} on ext4"
    for way, result in ext4.run(kernel, archive, where, store, report, wanted=wanted):
        if way.must_lose:
            outcome.broken(f"{kind}, {way.name}", result)
        else:
            outcome.good(kind, result)
    return outcome


# kind, store, what goes before the program, program, share of the states, must something be lost
FLASH = (
    ("jffs2", "journal", "", "queue_driver", 0.3, False),
    ("jffs2", "journal", "", "queue_driver_hasty", 0.05, True),  # flushing is nothing to JFFS2
    ("ubifs", "lmdb", "", "queue_driver", 0.2, False),
    ("ubifs", "journal", "", "queue_driver", 0.15, False),
    ("ubifs", "lmdb", SHIM, "queue_driver", 0.05, True),
    ("ubifs", "journal", SHIM, "queue_driver", 0.05, True),
)

FULL = (("jffs2", "journal"), ("ubifs", "lmdb"), ("ubifs", "journal"), ("ext4", "lmdb"), ("ext4", "journal"))


def on_flash(kernel, archive, where, wanted, report):
    outcome, machines = Outcome(), []
    try:
        for name in ("write", "look"):
            machines.append(vm.Machine(kernel, archive, os.path.join(where, name)))
        writer, looker = map(flash.Place, machines)
        for found in flash.choice(writer):
            outcome.wrong(found)
        for kind, store, before, program, share, must_lose in FLASH:
            result = flash.run(writer, looker, kind, store, int(wanted * share), before, program)
            how = "not flushed" if before else HASTY if must_lose else "flushed"
            report(f"{store} on {kind}, {how}: {result.states} states of a chip, {result.torn} torn, "
                   f"{result.acknowledgements} acknowledgements, {result.lost} lost")
            if must_lose:
                outcome.broken(f"{store} on {kind}, {how}", result, counts=bool(before))
            else:
                outcome.good(kind, result)
        for kind, store in FULL:
            found = full.run(writer, kind, store, False, where) + full.run(writer, kind, store, True, where)
            report(f"{store} on {kind}, filled up by others: {' / '.join(found) or 'drains, and lives on'}")
            for text in found:
                outcome.wrong(f"{store} on full {kind}: {text}")
        result = nand.run(writer, max(3, int(wanted * 0.04)))
        report(f"lmdb on ubifs on NAND, flushed: {result.states} states between two calls, "
               f"{result.acknowledgements} acknowledgements, {result.lost} lost")
        outcome.good("ubifs", result)
    finally:
        for machine in machines:
            machine.cut()
    return outcome


def one(task, kernel, archive, where, wanted, report):
    """A medium that gets stuck is a finding as well."""
    began, outcome = time.monotonic(), Outcome()
    try:
        outcome = (on_flash(kernel, archive, where, wanted, report) if task == "flash" else
                   on_ext4(task, kernel, archive, where, wanted, report))
    except (vm.Stuck, OSError, ValueError) as error:
        outcome.wrong(f"{task}: {error}")
    report(f"{task}: {time.monotonic() - began:.0f} s")
    return outcome


def run(root, build, kernel, mapper, report, wanted=240, tasks=("lmdb", "journal", "flash")):
    """mapper: map, or that of a pool."""
    where, total = tempfile.mkdtemp(prefix="disk.", dir=build), Outcome()
    try:
        hasty = next(m for m in mutants.MUTANTS if m[0] == HASTY)
        archive = os.path.join(where, "archive")
        driver = os.path.join(build, "tests/queue_driver")
        vm.build_archive(kernel, archive, {"queue_driver": driver,
                                           "queue_driver_hasty": mutants.build_mutant(root, build, where, hasty)},
                         {"lib/no_flush.so": os.path.join(build, "tests/libno_flush.so")})
        look = functools.partial(one, kernel=kernel, archive=archive, where=where, wanted=wanted,
                                 report=report)
        for outcome in mapper(look, tasks):
            total.add(outcome)
    finally:
        shutil.rmtree(where, ignore_errors=True)
    return total


def main():
    root = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
    outcome = run(root, os.path.abspath(sys.argv[2]), sys.argv[1], map,
                  lambda text: print(text, flush=True), tasks=sys.argv[3:] or ("lmdb", "journal", "flash"))
    for example in outcome.examples:
        print("  ", example)
    print(outcome.sentence())
    return 1 if outcome.lost or outcome.bad else 0


if __name__ == "__main__":
    sys.exit(main())
