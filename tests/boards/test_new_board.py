"""A board is data: one new folder is enough for everything that knows boards."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.imagebuilder import FakeImageBuilder

ROOT = Path(__file__).resolve().parents[2]
NAME = "acme-door-1"
BOARD = """\
name: acme-door-1
model: Acme Door One
target: ramips
subtarget: mt7621
profile: acme_door-1
arch: mipsel_24kc
endian: little
cpu: MT7621, MIPS 1004Kc, 2 cores
crypto: none
ram_mb: 128
memory_class: 128
flash_type: nor
flash_mb: 32
image_kb: 32000
overlay: jffs2
has_usb: true
releases: ["24.10"]
unverified: []
"""
CONFIG = "# Acme Door One\nCONFIG_DOORSTEP_MAX_CONNECTIONS=300\n"
NOTES = """\
# Acme Door One

## Measured

| what | figure | command |
|---|---|---|
| resident memory, idle | not measured | `doorstep status` on the device |

## Storage

JFFS2.

`state_dir`: a stick.
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the tree, with one folder more."""
    root = tmp_path_factory.mktemp("tree")
    names = subprocess.run(["git", "ls-files", "-z", "--", ".", ":!tests/fuzz/corpus"], cwd=ROOT, check=True,
                           capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    folder = root / "boards" / NAME
    folder.mkdir()
    (folder / "board.yml").write_text(BOARD)
    (folder / "config").write_text(CONFIG)
    (folder / "notes.md").write_text(NOTES)
    return root


def run(tree, *words):
    done = subprocess.run(words, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_board_script_knows_it(tree):
    listed = [line.split()[0] for line in run(tree, "scripts/board", "list").splitlines()]
    assert NAME in listed and len(listed) == len(list((ROOT / "boards").glob("*/board.yml"))) + 1
    assert run(tree, "scripts/board", "show", "acme_door-1", "model") == "Acme Door One\n"
    assert "CONFIG_DOORSTEP_MAX_CONNECTIONS=300\n" in run(tree, "scripts/board", "config", NAME)


def test_tests_know_it(tree):
    out = run(tree, sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-c", "tests/pytest.ini",
              "tests/tree/test_boards.py", "-k", f"{NAME} and not budget and not defaults")
    for test in ("test_fields", "test_figures_are_measured_or_empty", "test_configuration"):
        assert f"{test}[{NAME}] PASSED" in out


def test_build_knows_it(tree, tmp_path):
    """Configured as scripts/build does it: the symbol of the folder reaches the code."""
    files = run(tree, "scripts/board", "config", NAME, "--files").strip()
    run(tree, "cmake", "-S", tree, "-B", tmp_path, "-G", "Ninja", "-DDOORSTEP_TESTS=OFF", f"-DDOORSTEP_CONFIG={files}",
        f"-DDOORSTEP_DEPS={next((ROOT / 'build/deps').glob('*'), '')}")
    header = (tmp_path / "generated/config.h").read_text()
    assert "#define CONFIG_DOORSTEP_MAX_CONNECTIONS 300\n" in header


def test_image_knows_it(tree, tmp_path):
    FakeImageBuilder(tmp_path / "imagebuilder", target="ramips/mt7621", arch="mipsel_24kc", profiles=("acme_door-1",),
                     in_feeds=True)
    out = run(tree, "firmware/image/build", "--board", NAME, "--imagebuilder", tmp_path / "imagebuilder", "--dry-run",
              "--domain", "example.org", "--out", tmp_path / "images")
    assert "PROFILE=acme_door-1" in out and "largest image: 32000 KiB, image_kb of boards/acme-door-1" in out
