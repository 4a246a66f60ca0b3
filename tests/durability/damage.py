"""Full disks, places that cannot be written, files that rotted: refused or recovered, never a crash, never silent."""

import errno
import os
import random
import resource
import shutil
import subprocess
import tempfile

from checker import Checker
from model import Model

NOBODY = 65534


class Damage:
    def __init__(self):
        self.cases = self.bad = self.skipped = 0
        self.examples = []

    def case(self, name, found):
        self.cases += 1
        if found:
            self.bad += 1
            if len(self.examples) < 12:
                self.examples.append(f"{name}: {found}")


def feed(model, text):
    for line in text.splitlines():
        model.feed(line)


def drive(driver, *args, **more):
    return subprocess.run([driver, *map(str, args)], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=False, timeout=120, **more)


def fill(driver, kind, state_dir, seed, operations=120, kib=8192):
    model = Model()
    run = drive(driver, "run", state_dir, kind, seed, operations, kib)
    feed(model, run.stdout)
    assert run.returncode == 0 and model.acknowledgements, run
    return model


def ending(run):
    """How a run may end: done, or refused with a sentence."""
    if run.returncode == 0:
        return None
    last = run.stdout.splitlines()[-1] if run.stdout else ""
    if run.returncode == 3 and last.startswith("refused ") and len(last.split(": ", 1)[-1]) > 8:
        return None
    return f"ended with status {run.returncode}, '{last}'"


def kept(model, checker, state_dir):
    items, report, used = checker.look(state_dir)
    if report is None:
        return f"the check {used}"
    found = model.problems(items, report)
    return found[0] if found else None


def full_files(damage, driver, checker, kind, where):
    """No file may grow beyond a limit."""
    for limit in (0, 3000, 20000, 100000, 400000, 1000000):
        state_dir = tempfile.mkdtemp(dir=where)
        model = Model()
        run = drive(driver, "run", state_dir, kind, limit, 200, 8192, preexec_fn=lambda n=limit:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (n, resource.RLIM_INFINITY)))
        feed(model, run.stdout)
        damage.case(f"{kind}, files up to {limit} bytes", ending(run) or
                    (kept(model, checker, state_dir) if model.acknowledgements else None))


def in_small_place(driver, kind, options, where, ballast):
    """Fills a tmpfs, then has something else fill the rest, then drains. None: not possible here."""
    script = f"""
        mount -t tmpfs -o {options} none "$1" || exit 77
        mkdir "$1/s"
        "$2" run "$1/s" {kind} 7 250 65536; echo "status $?"
        {'head -c 100000000 /dev/zero >"$1/other" 2>/dev/null' if ballast else ':'}
        "$2" drain "$1/s"; echo "status $?"
        echo "$1/s" | "$2" check
    """
    place = tempfile.mkdtemp(dir=where)
    run = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", place, driver], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, timeout=120)
    return None if run.returncode == 77 or "status" not in run.stdout else run.stdout


def judge_small_place(out, must_drain):
    model, items, report, statuses = Model(), [], None, []
    for line in out.splitlines():
        word = line.split()
        if word[0] == "status":
            statuses.append(int(word[1]))
        elif word[0] == "item":
            items.append((int(word[1]), *word[2:]))
        elif word[0] == "report":
            report = line[len("report "):]
        else:
            model.feed(line)
    if any(s not in (0, 3, 5) for s in statuses) or report is None:
        return f"crashed: statuses {statuses}"
    if must_drain and statuses != [0, 0]:
        return f"does not drain while the disk is full: statuses {statuses}"
    found = model.problems(items, report) if model.acknowledgements else []
    return found[0] if found else None


def full_disks(damage, driver, kind, where):
    for options, ballast in (("size=40k", False), ("size=300k", False), ("size=1m", False),
                             ("size=2m", False), ("size=1m", True), ("size=2m", True),
                             ("size=4m", True), ("size=4m,nr_inodes=6", False),
                             ("size=8m,nr_inodes=12", True)):
        out = in_small_place(driver, kind, options, where, ballast)
        if out is None:
            damage.skipped += 1
            continue
        name = f"{kind}, a disk of {options}{' that others fill' if ballast else ''}"
        damage.case(name, judge_small_place(out, must_drain=ballast and "inodes" not in options))


def unwritable(damage, driver, kind, where):
    """By permission: new, and with a queue in it that must stay as it is."""
    def as_nobody():
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
    copy = os.path.join(where, "driver")  # where nobody may read it
    shutil.copy(driver, copy)
    os.chmod(where, 0o755)
    for full in (False, True):
        state_dir = tempfile.mkdtemp(dir=where)
        model = fill(driver, kind, state_dir, 5) if full else Model()
        os.chmod(state_dir, 0o555)
        run = drive(copy, "run", state_dir, kind, 6, 20, 8192, preexec_fn=as_nobody)
        found = ending(run)
        if not found and (run.returncode != 3 or state_dir not in run.stdout):
            found = f"not refused: {run.stdout[-200:]}"
        os.chmod(state_dir, 0o755)
        if not found and full:
            checker = Checker(driver)
            found = kept(model, checker, state_dir)
            checker.close()
        damage.case(f"{kind}, {'full' if full else 'empty'} folder without permission", found)


def read_only(damage, driver, kind, where):
    state_dir = tempfile.mkdtemp(dir=where)
    fill(driver, kind, state_dir, 5)
    script = """mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 77
                "$2" run "$1" "$3" 6 20 8192"""
    run = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", state_dir, driver, kind],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    if run.returncode in (1, 77):
        damage.skipped += 1
        return
    damage.case(f"{kind}, read-only", ending(run) or
                (None if run.returncode == 3 else "not refused"))


def failing_calls(damage, driver, shim, checker, kind, where):
    """The n-th call that changes something fails, for each n; and all from the n-th on."""
    for n in range(1, 61):
        for number in (errno.EIO, errno.ENOSPC):
            fail = f"{n}:{number}" if n % 3 else ",".join(f"{n + i}:{number}" for i in range(16))
            state_dir = tempfile.mkdtemp(dir=where)
            env = dict(os.environ, LD_PRELOAD=shim, SHIM_DIR=state_dir, SHIM_FAIL=fail,
                       SHIM_LOG=os.path.join(where, "log"))
            model = Model()
            run = drive(driver, "run", state_dir, kind, n, 60, 4096, env=env)
            feed(model, run.stdout)
            damage.case(f"{kind}, call {fail} fails", ending(run) or
                        (kept(model, checker, state_dir) if model.acknowledgements else None))
            shutil.rmtree(state_dir)


def files_of(state_dir):
    folder = os.path.join(state_dir, "queue")
    return [os.path.join(folder, n) for n in sorted(os.listdir(folder))
            if n == "data.mdb" or n.startswith("journal.")]


def spoil(path, chance):
    """Damages a file; returns what was done."""
    size = os.path.getsize(path)
    what = chance.choice(("cut", "flip", "flip", "zero", "noise", "swap", "grow"))
    with open(path, "r+b") as file:
        at = chance.randrange(size)
        if what == "cut":
            file.truncate(chance.choice((at, at // 4096 * 4096, at % 4096)))
        elif what == "grow":
            file.seek(0, os.SEEK_END)
            file.write(bytes(chance.randrange(1, 5000)))
        elif what == "flip":
            for _ in range(chance.choice((1, 1, 8, 200))):
                at = chance.randrange(size) if chance.random() < 0.8 else chance.randrange(min(size, 8192))
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 1 << chance.randrange(8)]))
        elif what == "swap":
            one, two = (chance.randrange(size // 4096 + 1) * 4096 for _ in range(2))
            file.seek(one)
            page = file.read(4096)
            file.seek(two)
            file.write(page)
        else:
            at = at // 512 * 512
            file.seek(at)
            length = min(chance.choice((512, 4096, 20000)), size - at)
            file.write(bytes(length) if what == "zero" else chance.randbytes(length))
    return what


def judge_rot(model, items, report, used, is_shorter):
    """Losing is allowed, if it is said; telling what never was is not."""
    if report is None:
        return f"the check {used}"
    there = {tuple(item[2:]) for item in items}
    if not there <= set(model.versions):
        return "invented or altered an item"
    expected = {key for key, v in model.versions.items()
                if v.acknowledged and not v.leaving and not model.may_be_replaced(v, there)}
    # what rots at the very end of a journal cannot be told from a write that was never finished
    was_cut = is_shorter or report.split(":")[0].split()[3] != "0"
    if not expected <= there and report.startswith("ok ") and not was_cut:
        return f"lost {len(expected - there)} items without a word"
    if used not in ("ok", "unsupported"):
        return f"cannot be used afterwards: {used} ({report})"
    return None


def rot(damage, driver, checker, kind, where, times, seed):
    chance = random.Random(seed)
    good = tempfile.mkdtemp(dir=where)
    model = fill(driver, kind, good, seed, operations=200)
    for n in range(times):
        place = os.path.join(where, f"rot.{kind}")
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(good, place)
        files = files_of(place)
        file = chance.choice(files)
        what = spoil(file, chance)
        damage.case(f"{kind}, {what} in {os.path.basename(file)} (number {n})",
                    judge_rot(model, *checker.look(place, use=True),
                              kind == "journal" and what == "cut" and file == files[-1]))


def run(driver, shim, kind, report=print, where=None, rotten=250, seed=1):
    damage, checker = Damage(), Checker(driver)
    base = tempfile.mkdtemp(prefix="durability.", dir=where)
    try:
        full_files(damage, driver, checker, kind, base)
        full_disks(damage, driver, kind, base)
        unwritable(damage, driver, kind, base)
        read_only(damage, driver, kind, base)
        failing_calls(damage, driver, shim, checker, kind, base)
        rot(damage, driver, checker, kind, base, rotten, seed)
    finally:
        checker.close()
        shutil.rmtree(base, ignore_errors=True)
    report(f"{kind}: {damage.cases} full disks, failing calls, unwritable places and rotten files, "
           f"{damage.bad} bad"
           + (f", {damage.skipped} not possible here" if damage.skipped else ""))
    return damage
