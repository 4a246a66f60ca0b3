"""Every board in boards/ is whole and says what can be true; scripts/board knows it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import boards  # noqa: E402
from support import budget  # noqa: E402

NAMES = boards.folders()
each = pytest.mark.parametrize("name", NAMES)
CLASSES = ["default.config"] + [f"{c}.config" for c in boards.CLASSES]


def board_script(*words, root=ROOT, status=0):
    run = subprocess.run([root / "scripts/board", *words], cwd=root, capture_output=True, text=True,
                         check=False)
    assert run.returncode == status, run.stdout + run.stderr
    return run.stdout if status == 0 else run.stderr


def test_there_are_boards():
    """Of every family of routers, and both that the emulated runs use."""
    found = {boards.load(name)["target"] for name in NAMES}
    assert found >= {"ath79", "ramips", "ipq40xx", "mediatek", "bcm27xx", "rockchip", "x86",
                     "malta", "armsr"}
    assert {"malta-be", "malta-le", "armsr-armv7", "armsr-armv8", "x86-64"} <= set(NAMES)
    assert len(NAMES) >= 14


@each
def test_code_can_be_generated(name):
    """scripts/build --board knows the architecture, and its byte order is the board's."""
    lines = [line.split() for line in (ROOT / "cmake/architectures").read_text().splitlines()
             if line and line[0] != "#"]
    machines = {line[0]: line[1] for line in lines}
    board = boards.load(name)
    assert board["arch"] in machines
    assert (machines[board["arch"]] == "mips") == (board["endian"] == "big")


def test_nothing_else_lies_there():
    there = {p.name for p in (ROOT / "boards").iterdir()} - {"README.md", "classes"}
    assert there == set(NAMES)
    assert {p.name for p in (ROOT / "boards/classes").iterdir()} == set(CLASSES)
    for name in NAMES:
        files = {p.name for p in (ROOT / "boards" / name).iterdir()}
        assert files == {"board.yml", "config", "notes.md"}, name


@each
def test_fields(name):
    board = boards.load(name)
    assert list(board) == list(boards.FIELDS), "in the order of scripts/board --help"


def test_no_two_are_the_same():
    seen = {}
    for name in NAMES:
        board = boards.load(name)
        key = board["target"], board["subtarget"], board["profile"]
        assert key not in seen, (name, seen[key])
        seen[key] = name


def test_a_yaml_reader_agrees():
    """board.yml is YAML: another reader sees the same."""
    code = ("import json, sys, yaml\n"
            "print(json.dumps([yaml.safe_load(open(p, encoding='utf-8')) for p in sys.argv[1:]]))")
    paths = [ROOT / "boards" / name / "board.yml" for name in NAMES]
    out = subprocess.run(["/usr/bin/python3", "-c", code, *paths], check=True, capture_output=True,
                         text=True).stdout
    assert json.loads(out) == [boards.load(name) for name in NAMES]


BASE = (ROOT / "boards/malta-be/board.yml").read_text(encoding="utf-8")
BAD = [
    ("ram_mb: 64", "ram_mb: 16", "does not fit"),
    ("ram_mb: 64", "ram_mb: lots", "should be a int"),
    ("ram_mb: 64", "ram_mb: 128", "memory_class: 128 for 128 MB"),
    ("ram_mb: 64", "ram_mb 64", "board.yml:"),
    ("ram_mb: 64", "ram: 64", "unknown field ram; did you mean ram_mb?"),
    ("ram_mb: 64\n", "", "ram_mb is missing"),
    ("ram_mb: 64", "ram_mb: 64\nram_mb: 64", "twice"),
    ("name: malta-be", "name: malta-bo", "the folder is malta-be"),
    ("endian: big", "endian: little", "mips_24kc is big"),
    ("endian: big", "endian: middle", "one of big, little"),
    ("has_usb: false", "has_usb: no", "double quotes"),
    ("has_usb: false", "has_usb: 0", "should be a bool"),
    ("flash_type: disk", "flash_type: nor", "not used on nor"),
    ("flash_type: disk", "flash_type: emmc", "0 is for disks"),
    ("flash_mb: 0", "flash_mb: 16\nimage_kb: 20000", "twice"),
    ("image_kb: 0", "image_kb: -1", "double quotes"),
    ('["24.10", "25.12"]', "[24.10]", "double quotes"),
    ('["24.10", "25.12"]', '["later"]', "'later' does not fit"),
    ('["24.10", "25.12"]', '["24.10"', "ends with ]"),
    ('["24.10", "25.12"]', "[]", "releases: none"),
    ("model: QEMU malta, big-endian", "model: a: b", "double quotes"),
    ("model: QEMU malta, big-endian", "model: &a b", "double quotes"),
    ("model: QEMU malta, big-endian", "model: yes", "double quotes"),
    ("model: QEMU malta, big-endian", "model: x # y", "double quotes"),
    ("model: QEMU malta, big-endian", "model:", "not of the form"),
    ("model: QEMU malta, big-endian", "  model: x", "not of the form"),
    ("unverified: [profile]", "unverified: [profil]", "no field profil"),
]


@pytest.mark.parametrize("old,new,expected", BAD)
def test_bad_fields_are_refused(old, new, expected, tmp_path):
    folder = tmp_path / "boards/malta-be"
    shutil.copytree(ROOT / "boards/malta-be", folder)
    assert BASE.count(old) == 1
    (folder / "board.yml").write_text(BASE.replace(old, new))
    with pytest.raises(boards.BoardError, match=expected.replace("?", r"\?").replace("[", r"\[")):
        boards.load("malta-be", tmp_path)


@pytest.mark.parametrize("file", ["config", "notes.md"])
def test_missing_files_are_told(file, tmp_path):
    shutil.copytree(ROOT / "boards/malta-be", tmp_path / "boards/malta-be")
    (tmp_path / "boards/malta-be" / file).unlink()
    with pytest.raises(boards.BoardError, match=f"no boards/malta-be/{file}"):
        boards.load("malta-be", tmp_path)


@each
def test_figures_are_measured_or_empty(name):
    """Every row names the command that printed its figure, or says that nobody measured it."""
    text = (ROOT / "boards" / name / "notes.md").read_text(encoding="utf-8")
    rows = boards.figures(text)
    assert rows and None not in rows, "rows: | what | figure | command |"
    assert len({what for what, _, _ in rows}) == len(rows)
    for what, figure, command in rows:
        assert figure == boards.NOT_MEASURED or (command or "").startswith("`"), (what, figure)
    for heading in ("\n## Storage\n", "`state_dir`: "):
        assert heading in text, heading


def test_notes_are_filled_in_place(tmp_path):
    shutil.copytree(ROOT / "boards/malta-be", tmp_path / "boards/malta-be")
    board = boards.load("malta-be", tmp_path)
    path = tmp_path / "boards/malta-be/notes.md"
    before = path.read_text()
    boards.note(board, "resident memory, idle", "2.0 MB", "run it", tmp_path)
    boards.note(board, "something new", "7", "run that", tmp_path)
    boards.note(board, "something new", "8", "run that", tmp_path)
    rows = boards.figures(path.read_text())
    assert ("resident memory, idle", "2.0 MB", "`run it`") in rows
    assert rows[-1] == ("something new", "8", "`run that`")
    assert len(rows) == len(boards.figures(before)) + 1
    assert path.read_text().split("## Storage")[1] == before.split("## Storage")[1]
    for bad in (("a|b", "1", "c"), ("a", "", "c"), ("a", "1", "x\ny"), ("a", "1", "`x`")):
        with pytest.raises(boards.BoardError):
            boards.note(board, *bad, tmp_path)


def test_list_and_show():
    lines = board_script("list").splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert json.loads(board_script("list", "--json")) == [boards.load(name) for name in NAMES]
    assert board_script("show", "malta-be", "arch") == "mips_24kc\n"
    assert "ram_mb: 64\n" in board_script("show", "malta-be")
    by_profile = board_script("show", "tplink_archer-c7-v2", "name")
    assert by_profile == "tplink-archer-c7-v2\n"
    assert json.loads(board_script("show", "rpi-4", "--json")) == boards.load("rpi-4")


def test_mistyped_words_get_a_suggestion():
    assert "did you mean malta-be?" in board_script("show", "malta-b", status=1)
    assert "did you mean subtarget?" in board_script("show", "malta-be", "subtargt", status=1)
    assert "several boards have the profile" in board_script("show", "generic", status=1)
    assert "usage: scripts/board" in board_script("shw", status=1)
    assert "usage: scripts/board" in board_script("show", "rpi-4", "--jsn", status=1)


def test_help_names_every_field():
    text = board_script("--help")
    for name in boards.FIELDS:
        assert f"\n  {name} " in text


@each
def test_configuration(name):
    """Complete and accepted by Kconfig: no unknown symbol, nothing that was asked for and not got."""
    text = board_script("config", name)
    wanted = (ROOT / "boards" / name / "config").read_text(encoding="utf-8")
    for line in wanted.splitlines():
        if "CONFIG_" in line:
            assert line in text.splitlines(), line
    files = board_script("config", name, "--files").strip().split(";")
    assert files[0] == "boards/classes/default.config" and files[-1] == f"boards/{name}/config"
    assert all((ROOT / file).is_file() for file in files)


@pytest.mark.parametrize("memory_class", boards.CLASSES)
def test_ceilings_fit_the_memory(memory_class):
    """Everything at its ceiling at once stays within the budget of the class."""
    print(budget.table(memory_class))
    for load, parts in budget.rows(memory_class).items():
        assert sum(parts.values()) <= budget.BUDGET_KIB[memory_class], (load, parts)


@each
def test_budget_is_a_fair_share(name):
    """Of the board's memory, of which a router needs most for itself."""
    board = boards.load(name)
    share = budget.BUDGET_KIB[board["memory_class"]] / (board["ram_mb"] * 1024)
    assert share <= budget.SHARE[board["memory_class"]]


@each
def test_defaults_are_below_what_is_compiled_in(name):
    config = dict(line.split("=", 1) for line in board_script("config", name).splitlines()
                  if line.startswith("CONFIG_"))
    limits = budget.configuration(boards.load(name)["memory_class"])["limits"]
    most = int(config["CONFIG_DOORSTEP_MAX_CONNECTIONS"]) // 2
    assert limits["inbound_connections"] <= most and limits["outbound_connections"] <= most
    assert limits["handshakes"] <= int(config["CONFIG_DOORSTEP_MAX_HANDSHAKES"])
    assert limits["dns_queries"] <= int(config["CONFIG_DOORSTEP_MAX_DNS_QUERIES"])
