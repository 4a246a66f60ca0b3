"""Everything in turn; see run."""

import functools
import multiprocessing
import os
import shutil
import sys
import tempfile
import time

import crash_states
import damage
import kill_loop
import mutants
from disk import cuts

KINDS = ("lmdb", "journal")
MUTANT_SEEDS = 6  # a mutant that needs luck gets as many recorded runs


def say(text):
    print(text, flush=True)


def caught(root, build, shim, mutant):
    """(backends that notice, of so many that must, what to tell)"""
    where = tempfile.mkdtemp(prefix="mutant.", dir=build)
    noticed, lines = 0, []
    try:
        driver = mutants.build_mutant(root, build, where, mutant)
        for kind in mutant[1]:
            for seed in range(1, MUTANT_SEEDS + 1):
                result = crash_states.run(driver, shim, kind, report=lambda *_: None, seed=seed,
                                          stop_at_first=True)
                if result.lost:
                    lines.append(f"   {kind}: {mutant[0]}: caught {result.examples[0]}")
                    noticed += 1
                    break
            else:
                lines.append(f"   {kind}: {mutant[0]}: NOT CAUGHT")
    finally:
        shutil.rmtree(where, ignore_errors=True)
    return noticed, len(mutant[1]), lines


class Suite:
    def __init__(self, root, build, quick):
        self.root, self.build, self.quick = root, build, quick
        self.driver = os.path.join(build, "tests/queue_driver")
        self.shim = os.path.join(build, "tests/libjournal_shim.so")
        self.began = time.monotonic()
        self.bad, self.examples = 0, []

    def step(self, title):
        say(f"-- {title} ({time.monotonic() - self.began:.0f} s)")

    def crash_states(self, pool):
        self.step("states that a power cut may leave")
        look = functools.partial(crash_states.run, self.driver, self.shim, report=say,
                                 scale=0.2 if self.quick else 1.0)
        states = lost = 0
        for kind, result in zip(KINDS, pool.map(look, KINDS)):
            states += result.states
            lost += result.lost
            self.examples += result.examples
            if not self.quick and result.states < 1000:
                self.bad += 1
                self.examples.append(f"{kind}: only {result.states} states")
        return states, lost

    def kills(self, pool):
        self.step("killed under load")
        kill = functools.partial(kill_loop.run, self.driver, times=15 if self.quick else 110,
                                 report=say, where=self.build)
        for kills in pool.map(kill, KINDS):
            self.bad += kills.lost
            self.examples += kills.examples[:5]

    def damage(self, pool):
        self.step("damage")
        spoil = functools.partial(damage.run, self.driver, self.shim, report=say,
                                  where=crash_states.base(), rotten=25 if self.quick else 250)
        for result in pool.map(spoil, KINDS):
            self.bad += result.bad
            self.examples += result.examples

    def disks(self, pool):
        self.step("disks and flash chips that lose their power")
        kernel = os.path.join(self.root, "build/kernel")
        outcome = cuts.run(self.root, self.build, kernel, pool.map, say, wanted=24 if self.quick else 240)
        self.bad += outcome.bad
        self.examples += outcome.examples
        for kind, states in outcome.states.items():
            if not self.quick and states < (200 if "ext4" in kind else 60):
                self.bad += 1
                self.examples.append(f"{kind}: only {states} states")
        return outcome

    def mutants(self, pool):
        self.step("mutants")
        look = functools.partial(caught, self.root, self.build, self.shim)
        noticed = wanted = 0
        for n, of, lines in pool.imap(look, mutants.MUTANTS):
            noticed += n
            wanted += of
            say("\n".join(lines))
        return noticed, wanted


def main():
    suite = Suite(*sys.argv[1:3], "--quick" in sys.argv[3:])
    noticed = wanted = 0
    with multiprocessing.Pool(2) as pool:
        states, lost = suite.crash_states(pool)
        suite.kills(pool)
        suite.damage(pool)
        disks = suite.disks(pool)
        if not suite.quick:
            noticed, wanted = suite.mutants(pool)
    for example in suite.examples:
        say(f"   {example}")
    if suite.bad:
        say(f"{suite.bad} kills, damages or disks went wrong")
    suite.step("done")
    say(disks.sentence())
    states += sum(disks.states.values())
    lost += disks.lost
    say(f"crash states {states}, lost {lost}")
    say(f"mutants caught {noticed} of {wanted}")
    return 0 if states > 0 and lost == 0 and suite.bad == 0 and noticed == wanted else 1


if __name__ == "__main__":
    sys.exit(main())
