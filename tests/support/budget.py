"""What the process may need at most, added up from its ceilings.

The figures of one connection are those of its buffers, read from the sources, and a rest that
tests/integration/test_budget.py keeps honest by measuring.
"""

import json
import os
import re
import subprocess
import tempfile

from .door import ROOT, executable, uci

CLASSES = [64, 128, 256, 512]
BUDGET_KIB = {64: 12 * 1024, 128: 32 * 1024, 256: 64 * 1024, 512: 192 * 1024}
SHARE = {64: 0.20, 128: 0.25, 256: 0.25, 512: 0.40}  # of the board's memory


def source(path):
    with open(os.path.join(ROOT, "src", path), encoding="utf-8") as file:
        return file.read()


def constant(path, name):
    """An enum constant that is a number or a product of numbers."""
    found = re.search(rf"\b{name} = ([\d* ]+\d)", source(path))
    if not found:
        raise AssertionError(f"src/{path} has no constant {name} that can be read")
    value = 1
    for factor in found.group(1).split("*"):
        value *= int(factor)
    return value


def ceilings_of_bodies():
    """{class: (largest early acknowledged, held together)} in KiB."""
    rows = re.findall(r"\{ (\d+), (\d+) \* KB, (\d+)(?: \* (\d+))? \* KB \}", source("role/reception.c"))
    assert [int(row[0]) for row in rows] == CLASSES[::-1], rows
    return {int(c): (int(early), int(a) * int(b or 1)) for c, early, a, b in rows}


def configuration(memory_class):
    """Every option as the class sets it: {section type: options}."""
    sections = [("doorstep", "main", {"enabled": "1", "memory_class": str(memory_class)}),
                ("domain", "home", {"server_name": "a.example", "homeserver": "nas"}),
                ("homeserver", "nas", {"url": "http://127.0.0.1:8008", "sleeps": "1"}),
                ("outbound", "lan", {"listen": "unix:/run/doorstep.sock"})]
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(uci(sections))
        file.flush()
        out = subprocess.run([executable(), "config", "show", "--json", "--config", file.name], check=True,
                             capture_output=True, text=True).stdout
    return {section["type"]: section["options"] for section in json.loads(out)["sections"]}


def kib(text):
    return int(text[:-1]) * {"K": 1, "M": 1024}[text[-1]]


def units():
    """KiB of one connection in the worst state, a body that nobody takes."""
    rx = constant("loop/stream.h", "STREAM_RX_MAX") // 1024
    tx = constant("loop/stream.h", "STREAM_TX_MAX") // 1024
    record = 16 + 1  # MBEDTLS_SSL_IN_CONTENT_LEN and what tls_rest.c adds
    tls = rx + record + rx  # ciphertext, a record under way, plaintext
    small = 6  # one side's structures and arena
    return {
        "waiting": tls + small,  # in front of the homeserver's connection_limit
        "relayed": tls + 3 * tx // 2 + 2 * small,  # chunks of output double up to the ceiling
        "sent out": tls + 3 * tx // 2 + 3 * small,
        "at rest": 8,
    }


def rows(memory_class):
    """{load: {what: KiB}}: while the homeserver is awake, and while it sleeps."""
    options, unit = configuration(memory_class), units()
    limits, bodies = options["limits"], ceilings_of_bodies()[memory_class]
    inbound, outbound = limits["inbound_connections"], limits["outbound_connections"]
    assert options["outbound"]["connection_limit"] == outbound, "or those that wait need a row of their own"
    relayed = min(inbound, options["homeserver"]["connection_limit"])
    always = {
        "process": 560,
        "cache of lookups": min(kib(limits["cache_bytes"]),
                                memory_class * constant("app/house.c", "CACHE_PER_CLASS_BYTES") // 1024),
        "kept answers": kib(limits["answers_bytes"]),
        "keys of servers": memory_class * constant("app/house_keep.c", "KEYS_PER_CLASS_BYTES") // 1024,
        "names, sessions": memory_class * 7 // 2,
        "bodies held for the queue": bodies[1],
    }
    assert bodies[0] < bodies[1], "one body of the largest kind must fit"
    return {
        "awake": {**always,
                  "connections in, waiting": (inbound - relayed) * unit["waiting"],
                  "connections in, relayed": relayed * unit["relayed"],
                  "connections out": outbound * unit["sent out"]},
        "asleep": {**always,
                   "connections in, waiting": inbound * unit["waiting"],
                   "connections out, at rest": outbound * unit["at rest"],
                   "bodies on their way to the disk": memory_class * constant(
                       "app/house_keep.c", "PENDING_PER_SMALL_MB" if memory_class < 128 else "PENDING_PER_CLASS_MB") // 1024},
    }


def table(memory_class):
    """Text: every row, and the sum against the budget."""
    lines = []
    for load, parts in rows(memory_class).items():
        lines += [f"memory class {memory_class}, {load}"]
        lines += [f"  {what:32} {size:7} KiB" for what, size in parts.items()]
        lines += [f"  {'sum':32} {sum(parts.values()):7} KiB of {BUDGET_KIB[memory_class]}"]
    return "\n".join(lines)


if __name__ == "__main__":
    for each in CLASSES:
        print(table(each))
