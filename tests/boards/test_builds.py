"""Every board's configuration builds, with warnings as errors; boards that share one share the build."""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
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


def build(content, files):
    """The executable of these configuration files, in a folder of its own."""
    folder = ROOT / "build/boards" / hashlib.sha256(repr(content).encode()).hexdigest()[:12]
    for command in (["cmake", "-S", ROOT, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=MinSizeRel",
                     "-DDOORSTEP_WERROR=ON", "-DDOORSTEP_TESTS=OFF", f"-DDOORSTEP_CONFIG={';'.join(map(str, files))}"],
                    ["cmake", "--build", folder, "-j", str(min(4, os.cpu_count())), "--target", "doorstep"]):
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    return folder / "doorstep"


def said(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("content", CONFIGURATIONS, ids=[names[0] for names in CONFIGURATIONS.values()])
def test_builds(content):
    print("also of " + ", ".join(CONFIGURATIONS[content][1:]))
    program = build(content, boards.config_files(boards.load(CONFIGURATIONS[content][0])))
    text = said(program, "--version")
    most = re.search(r"^connections: (\d+) at most$", text, re.M)
    assert most and most.group(1) == dict(content)["CONFIG_DOORSTEP_MAX_CONNECTIONS"]
    assert "store: LMDB\n" in text and has_lmdb(program)


def has_lmdb(program):
    """Linked with it, as a library of its own or inside."""
    return "lmdb" in said("objdump", "-p", program) or " mdb_env_open" in said("nm", "-a", program)


SERVES = """
config doorstep 'main'
	option enabled '1'
	option state_dir '{folder}/state'
	option control '{folder}/c'
config domain 'home'
	option server_name 'example.org'
	option homeserver 'nas'
config homeserver 'nas'
	option url 'http://127.0.0.1:9'
"""


def test_builds_without_lmdb(tmp_path):
    """Then there is no LMDB in it, and the queue is a journal where LMDB would do."""
    (tmp_path / "config").write_text("CONFIG_DOORSTEP_STORE=n\n")
    program = build("without LMDB", ["boards/classes/default.config", tmp_path / "config"])
    assert "store: journal\n" in said(program, "--version") and not has_lmdb(program)
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:  # /tmp may be in memory: no place for a queue
        config, state, lines = Path(folder) / "doorstep.conf", Path(folder) / "state", []
        config.write_text(SERVES.format(folder=folder))
        with subprocess.Popen([program, "serve", "--config", config], stderr=subprocess.PIPE, text=True) as serve:
            for line in serve.stderr:
                lines.append(line)
                if "serve.ready" in line:
                    serve.terminate()
        assert serve.returncode == 0, lines
        assert [line for line in lines if "built without LMDB" in line and "in memory only" in line], lines
        assert not [line for line in lines if line.startswith("error")], lines
        assert (state / "queue.store").read_text() == "doorstep queue, schema 1, journal\n"
        assert not list(state.rglob("*.mdb"))
