"""The counting of results itself: an error here would hide failures elsewhere."""

from tree.tally import tally

CMOCKA = "<testcase name='a'><system-out>[  PASSED  ] 5 test(s).\n{}</system-out>{}</testcase>"


def suite(*cases):
    return "<testsuite>" + "".join(cases) + "</testsuite>"


def test_rows():
    passed = "<testcase name='x'/>"
    failed = "<testcase name='x'><failure message=''/></testcase>"
    skipped = "<testcase name='x'><skipped/></testcase>"
    error = "<testcase name='x'><error/></testcase>"
    rows = [
        (suite(), 0, [0, 0, 0]),
        (suite(), 5, [0, 1, 0]),
        (suite(passed, passed), 0, [2, 0, 0]),
        (suite(passed, failed, skipped, error), 1, [1, 2, 1]),
        (suite(passed), 1, [1, 1, 0]),
        (suite(CMOCKA.format("", "")), 0, [5, 0, 0]),
        (suite(CMOCKA.format("[  FAILED  ] 2 test(s), listed below:", "<failure/>")), 8, [5, 2, 0]),
        (suite("<testcase><failure/><system-out>crash</system-out></testcase>"), 8, [0, 1, 0]),
    ]
    for text, status, expected in rows:
        assert tally(text, status) == expected, text
