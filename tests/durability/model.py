"""What a program promised, and whether what lies on a disk keeps it.

Fed with the lines of queue_driver (see there), in the order in which the world heard them. An item
is told apart by origin, transaction id and hash of its body; several with the same id are versions of it.
"""

AWAY = ("delivered", "drop")


class Version:
    def __init__(self, origin, name, digest, place):
        self.origin, self.name, self.digest, self.place = origin, name, digest, place
        self.acknowledged = False
        self.refused = False
        self.leaving = False       # a verdict that takes it away was begun
        self.left = False          # and acknowledged
        self.parked = None         # True, False; None: could be either
        self.given = False         # somebody had it
        self.given_before_next = False  # before the next version of its id began
        self.next = None           # that version

    def __str__(self):
        return f"{self.origin} {self.name} {self.digest[:8]}"


class Model:
    def __init__(self):
        self.versions = {}  # (origin, name, digest) -> Version
        self.latest = {}    # (origin, name) -> Version
        self.places = {}    # (origin, name) -> where its versions began
        self.count = 0
        self.acknowledgements = 0
        self.faults = []

    def feed(self, line):
        word = line.split()
        if not word:
            return
        act = {"S": self.begins, "A": self.acknowledged, "X": self.refused, "V": self.verdict,
               "W": self.settled}.get(word[0])
        if act:
            act(*word[1:])
        elif word[0] == "fault":
            self.faults.append(line)

    def begins(self, origin, name, digest):
        self.count += 1
        if (origin, name, digest) in self.versions:
            return
        version = Version(origin, name, digest, self.count)
        before = self.latest.get((origin, name))
        if before:
            before.next = version
            before.given_before_next = before.given
        self.versions[origin, name, digest] = self.latest[origin, name] = version
        self.places.setdefault((origin, name), []).append(version.place)

    def acknowledged(self, origin, name, digest):
        self.versions[origin, name, digest].acknowledged = True
        self.acknowledgements += 1

    def refused(self, origin, name, digest, _why):
        self.versions[origin, name, digest].refused = True

    def verdict(self, origin, name, digest, what):
        version = self.versions[origin, name, digest]
        version.given = True
        if what in AWAY:
            version.leaving = True
        elif what in ("park", "unpark"):
            version.parked = None

    def settled(self, origin, name, digest, what):
        version = self.versions[origin, name, digest]
        if what in AWAY:
            version.left = True
        elif what in ("park", "unpark"):
            version.parked = what == "park"
        self.acknowledgements += 1

    # what is there

    def problems(self, items, report):
        """items: [sequence, state, origin, name, digest]; report: the line of the check."""
        found = []
        there = {}
        for sequence, state, origin, name, digest in items:
            key = origin, name, digest
            if key not in self.versions:
                found.append(f"invented or altered: {origin} {name} {digest[:8]}")
            elif key in there:
                found.append(f"twice: {origin} {name}")
            there[key] = state
        for key, version in self.versions.items():
            found += self.problems_of(version, there.get(key), there)
        found += self.order(items)
        if self.acknowledgements and not report.startswith("ok "):
            found.append(f"not clean: {report}")
        return found

    @staticmethod
    def may_be_replaced(version, there):
        """By a later version that took its place, and is there or has gone since."""
        if version.given_before_next:
            return False
        after = version.next
        while after:
            if (after.origin, after.name, after.digest) in there or after.leaving:
                return True
            after = after.next
        return False

    def problems_of(self, version, state, there):
        if state is None:
            if version.acknowledged and not version.leaving and \
                    not self.may_be_replaced(version, there):
                return [f"lost: {version}"]
            return []
        if version.left:
            return [f"back again: {version}"]
        if version.parked is not None and (state == "parked") != version.parked:
            return [f"{state}: {version}"]
        return []

    def order(self, items):
        last = {}
        for _, _, origin, name, digest in sorted(items, key=lambda item: item[0]):
            version = self.versions.get((origin, name, digest))
            if not version:
                continue
            # it stands where it came, or where an earlier one of its id did
            places = [p for p in self.places[origin, name] if last.get(origin, 0) < p <= version.place]
            if not places:
                return [f"out of order: {version}"]
            last[origin] = places[0]
        return []
