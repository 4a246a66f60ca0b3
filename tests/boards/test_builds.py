"""Every board's configuration builds, with warnings as errors; boards that share one share the build."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import boards  # noqa: E402


def symbols(text):
    return dict(line.split("=", 1) for line in text.splitlines() if line.startswith("CONFIG_"))


def configurations():
    """{content: names of boards} of all that differ."""
    found = {}
    for name in boards.folders():
        text = boards.config_text(boards.load(name))
        found.setdefault(tuple(sorted(symbols(text).items())), []).append(name)
    return found


CONFIGURATIONS = configurations()


def test_there_are_several():
    assert len(CONFIGURATIONS) >= 4, "one for each memory class"


@pytest.mark.parametrize("content", CONFIGURATIONS, ids=[names[0] for names in CONFIGURATIONS.values()])
def test_builds(content):
    name = CONFIGURATIONS[content][0]
    print("also of " + ", ".join(CONFIGURATIONS[content][1:]))
    folder = ROOT / "build/boards" / hashlib.sha256(repr(content).encode()).hexdigest()[:12]
    files = ";".join(boards.config_files(boards.load(name)))
    for command in (["cmake", "-S", ROOT, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=MinSizeRel",
                     "-DDOORSTEP_WERROR=ON", "-DDOORSTEP_TESTS=OFF", f"-DDOORSTEP_CONFIG={files}"],
                    ["cmake", "--build", folder, "-j", str(min(4, os.cpu_count())), "--target", "doorstep"]):
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    said = subprocess.run([folder / "doorstep", "--version"], check=True, capture_output=True, text=True).stdout
    most = re.search(r"^connections: (\d+) at most$", said, re.M)
    assert most and most.group(1) == dict(content)["CONFIG_DOORSTEP_MAX_CONNECTIONS"]
