"""Prints the table at the end."""

import os

from .test_refusals import RESULT


def pytest_terminal_summary(terminalreporter, config):
    if os.path.exists(RESULT):
        with open(RESULT, encoding="ascii") as table:
            terminalreporter.write(table.read())
