"""Add up a JUnit result file, of pytest or of ctest.

usage: tally.py FILE EXIT_STATUS

Prints "N passed, N failed, N skipped". A cmocka program counts by the tests in it,
as its own closing lines say. A runner that failed without a failed test, or that left
no file, counts as one failure.
"""

import re
import sys
import xml.etree.ElementTree as tree

PASSED = re.compile(r"\[  PASSED  \] (\d+) test")
FAILED = re.compile(r"\[  FAILED  \] (\d+) test")
SKIPPED = re.compile(r"\[  SKIPPED \] (\d+) test")


def inner(pattern, text):
    return sum(int(found) for found in pattern.findall(text))


def tally_case(case):
    """(passed, failed, skipped) of one testcase element."""
    out = case.findtext("system-out") or ""
    counts = [inner(pattern, out) for pattern in (PASSED, FAILED, SKIPPED)]
    bad = case.find("failure") is not None or case.find("error") is not None
    if case.find("skipped") is not None:
        return [0, 0, 1]
    if bad and counts[1] == 0:
        counts[1] = 1
    return counts if any(counts) else [1, 0, 0]


def tally(text, status):
    counts = [0, 0, 0]
    for case in tree.fromstring(text).iter("testcase"):
        counts = [a + b for a, b in zip(counts, tally_case(case))]
    if status != 0 and counts[1] == 0:
        counts[1] = 1
    return counts


def main(path, status):
    try:
        with open(path, encoding="utf-8") as file:
            counts = tally(file.read(), status)
    except (OSError, tree.ParseError):
        counts = [0, 1, 0]
    print("{} passed, {} failed, {} skipped".format(*counts))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
