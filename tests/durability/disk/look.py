"""Mounts what a power cut left, in a virtual machine, and compares with what was promised."""

STEPS = ("attached", "mounted", "unmounted", "detached")
FAILED = 91  # exit status if the first of them fails


class Result:
    """Of looks at many states."""

    def __init__(self):
        self.states = self.lost = self.torn = self.acknowledgements = 0
        self.examples = []

    def add(self, found, where):
        self.states += 1
        if found:
            self.lost += 1
            self.examples = (self.examples + [f"{where}: {found[0]}"])[:3]


def items_of(lines):
    """As checker.Checker.look: (items, report, used)"""
    items, report, used = [], None, None
    for line in lines:
        word = line.split()
        if line.startswith("item "):
            items.append((int(word[1]), *word[2:]))
        elif line.startswith("report "):
            report = line[len("report "):].strip()
        elif line.startswith("used "):
            used = word[1]
    return items, report, used


def look(machine, mount, model, attach="true", detach="true", place="/m"):
    """Problems. mount: type and device."""
    lines, status = machine.ask(
        f"{attach} || exit {FAILED}; mount -t {mount} {place} || exit {FAILED + 1}; "
        f"echo +{place}/s | queue_driver check; r=$?; umount {place} || exit {FAILED + 2}; "
        f"{detach} || exit {FAILED + 3}; exit $r")
    if FAILED <= status < FAILED + len(STEPS):
        said = machine.do("dmesg | tail -3")
        return [f"{mount} cannot be {STEPS[status - FAILED]}: {' / '.join(lines + said)}"]
    items, report, used = items_of(lines)
    if status != 0 or report is None:
        return [f"the check ended with status {status}"]
    found = model.problems(items, report)
    if used != "ok":
        found.append(f"cannot be used afterwards: {used}")
    return found
