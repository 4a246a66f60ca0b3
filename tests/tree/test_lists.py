"""What lies in the tree is built and run: nothing is forgotten in a list."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = (ROOT / "tests/CMakeLists.txt").read_text(encoding="utf-8")


def code(text):
    return re.sub(r"#.*", "", text)


def names(pattern):
    return re.findall(pattern, code(TESTS))


def test_every_source_is_in_its_room():
    for room in sorted(p for p in (ROOT / "src").iterdir() if p.is_dir()):
        listed = set(re.findall(r"(?<=[\s(])[\w/]+\.c\b", code((room / "CMakeLists.txt").read_text())))
        there = {p.relative_to(room).as_posix() for p in room.rglob("*.c")}
        assert there == listed, room


def test_every_unit_test_is_listed():
    there = {p.relative_to(ROOT / "tests/unit").as_posix()
             for p in (ROOT / "tests/unit").rglob("*_test.c")}
    assert there and there == set(names(r"(\S+/\S+_test\.c)\b"))


def test_every_replay_test_is_listed():
    there = {p.name[:-len("_test.c")] for p in (ROOT / "tests/replay").glob("*_test.c")}
    assert there == set(names(r"doorstep_replay_test\((\w+)"))


def test_every_fuzz_target_is_listed_and_has_a_corpus():
    there = {p.name[:-len("_fuzz.c")] for p in (ROOT / "tests/fuzz").glob("*_fuzz.c")}
    assert there == set(names(r"doorstep_fuzz_target\((\w+)"))
    for name in there:
        corpus = ROOT / "tests/fuzz/corpus" / name
        assert corpus.is_dir() and any(corpus.iterdir()), corpus


def test_default_configuration_agrees_with_kconfig():
    run = subprocess.run(["scripts/kconfig.py", "default"], cwd=ROOT, capture_output=True,
                         text=True, check=False)
    if run.returncode == 3:
        pytest.skip("kconfiglib is not installed")
    assert run.returncode == 0, run.stderr
    assert run.stdout == (ROOT / "boards/classes/default.config").read_text(), \
        "write it anew: scripts/kconfig.py default > boards/classes/default.config"


@pytest.mark.parametrize("fragment", ["64", "128", "256", "512"])
def test_header_is_the_same_without_kconfiglib(fragment, tmp_path):
    """The build's own reader and kconfiglib make the same definitions of the same files."""
    files = [f"boards/classes/{name}.config" for name in ("default", fragment)]
    run = subprocess.run(["scripts/kconfig.py", tmp_path / "kconfiglib", *files], cwd=ROOT,
                         capture_output=True, text=True, check=False)
    if run.returncode == 3:
        pytest.skip("kconfiglib is not installed")
    assert run.returncode == 0, run.stderr
    (tmp_path / "CMakeLists.txt").write_text(f"""
cmake_minimum_required(VERSION 3.20)
project(reader NONE)
set(CMAKE_SOURCE_DIR "{ROOT}")
set(DOORSTEP_CONFIG "{';'.join(files)}")
set(DOORSTEP_KCONFIGLIB OFF)
include("{ROOT}/cmake/doorstep_config.cmake")
""")
    subprocess.run(["cmake", "-S", tmp_path, "-B", tmp_path / "build"], check=True,
                   capture_output=True)

    def definitions(path):
        return sorted(path.read_text().split("\n"))
    assert definitions(tmp_path / "build/generated/config.h") == \
        definitions(tmp_path / "kconfiglib/config.h")


@pytest.mark.parametrize("line", ["CONFIG_DOORSTEP_NO_SUCH=y", "CONFIG_DOORSTEP_MAX_CONNECTIONS=1",
                                  "CONFIG_DOORSTEP_LOG_ERROR=y"])
def test_bad_configuration_is_refused(line, tmp_path):
    (tmp_path / "bad.config").write_text(line + "\n")
    run = subprocess.run(["scripts/kconfig.py", tmp_path, "boards/classes/default.config",
                          tmp_path / "bad.config"], cwd=ROOT, capture_output=True, text=True,
                         check=False)
    if run.returncode == 3:
        pytest.skip("kconfiglib is not installed")
    assert run.returncode == 1 and "DOORSTEP" in run.stderr
