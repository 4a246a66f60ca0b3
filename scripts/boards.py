"""What boards/ says, read and checked; imported by scripts/board and firmware/image/build.

A board is a folder boards/NAME with three files:

    board.yml   what it is: one `field: value` a line, the fields of FIELDS, nothing else
    config      Kconfig symbols on top of boards/classes/default.config and those of its class
    notes.md    figures that somebody measured, how its storage behaves

board.yml is YAML of the plainest kind, so that any YAML reader agrees with this one: whole-line
comments; text bare or in double quotes (no escapes); whole numbers; true, false; lists in one line
of brackets. Text that YAML would take for something else (24.10, on) must stand in quotes.
"""

import difflib
import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CLASSES = [64, 128, 256, 512]  # megabytes; boards with more are of the last one

# package architectures of OpenWrt that start so are big-endian
BIG_ENDIAN = ("mips_", "mips64_", "powerpc_", "powerpc64_", "armeb_")
# kind of flash -> file systems that OpenWrt puts its overlay on
OVERLAYS = {"nor": ["jffs2"], "nand": ["ubifs"], "emmc": ["f2fs", "ext4"], "disk": ["ext4", "f2fs"]}

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

# field -> (type, allowed values or pattern or None, what it says)
FIELDS = {
    "name": (str, SLUG, "the folder's name"),
    "model": (str, None, "as it is written on the box"),
    "target": (str, re.compile(r"[a-z0-9]+"), "OpenWrt's target"),
    "subtarget": (str, re.compile(r"[a-z0-9]+"), "and subtarget"),
    "profile": (str, re.compile(r"[A-Za-z0-9_.-]+"), "its profile there, as `make info` of an "
                                                     "ImageBuilder lists it"),
    "arch": (str, re.compile(r"[a-z0-9]+_[a-z0-9_.+-]+"), "OpenWrt's package architecture"),
    "endian": (str, ["big", "little"], "byte order"),
    "cpu": (str, None, "processor and cores"),
    "crypto": (str, ["none", "armv8", "varies"], "instructions for AES and SHA: of ARMv8, none, or "
                                                 "machines differ"),
    "ram_mb": (int, range(32, 1 << 20), "megabytes of memory; where there are several, the least"),
    "memory_class": (int, CLASSES, "the class of its ceilings: the largest that ram_mb reaches"),
    "flash_type": (str, list(OVERLAYS), "what the system is kept on"),
    "flash_mb": (int, range(0, 1 << 20), "megabytes of it; 0: any size (disk only)"),
    "image_kb": (int, range(0, 1 << 30), "largest image in KiB (IMAGE_SIZE of the profile); 0: not "
                                         "limited there"),
    "overlay": (str, ["jffs2", "ubifs", "f2fs", "ext4"], "file system of the writable part"),
    "has_usb": (bool, None, "a port for a disk"),
    "releases": (list, re.compile(r"\d\d\.\d\d"), "releases of OpenWrt that know the profile"),
    "unverified": (list, re.compile(r"[a-z_]+"), "fields above that were not checked against "
                                                 "OpenWrt's sources or the device"),
}

# what YAML reads as something other than text
NOT_TEXT = re.compile(r"(?i)(~|null|true|false|yes|no|on|off|y|n|[-+]?[\d.][\d_.:eE+-]*|0[xo][\da-f]+|"
                      r"[-+]?\.(inf|nan))")
BARE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .,_!+/()-]*")
QUOTED = re.compile(r'"([^"\\\n]*)"')


class BoardError(Exception):
    """Text for the person who wrote the file or the command."""


def scalar(text):
    """The value of bare or quoted text, a number or true, false."""
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"0|[1-9]\d*", text):
        return int(text)
    quoted = QUOTED.fullmatch(text)
    if quoted:
        return quoted.group(1)
    if not BARE.fullmatch(text) or NOT_TEXT.fullmatch(text):
        raise BoardError(f"write it in double quotes: {text}")
    return text


def value_of(text):
    if not text.startswith("["):
        return scalar(text)
    if not text.endswith("]"):
        raise BoardError("a list ends with ] on the same line")
    inner = text[1:-1].strip()
    return [scalar(item.strip()) for item in inner.split(",")] if inner else []


def parse(text, where="board.yml"):
    """The fields of a board.yml; BoardError with line number."""
    fields = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([a-z_]+): (\S.*)", line.rstrip())
        try:
            if not match or line != line.rstrip():
                raise BoardError("not of the form `field: value`")
            name, value = match.groups()
            if name in fields:
                raise BoardError(f"{name} is there twice")
            fields[name] = value_of(value)
        except BoardError as error:
            raise BoardError(f"{where}:{number}: {error}") from None
    return fields


def did_you_mean(word, words):
    near = difflib.get_close_matches(word, list(words), 1, 0.5)
    return f"; did you mean {near[0]}?" if near else ""


def fits(value, rule):
    if rule is None:
        return True
    if isinstance(rule, re.Pattern):
        return bool(rule.fullmatch(value))
    return value in rule


def field_problems(fields):
    for name in fields:
        if name not in FIELDS:
            yield f"unknown field {name}{did_you_mean(name, FIELDS)}"
    for name, (kind, rule, _) in FIELDS.items():
        if name not in fields:
            yield f"{name} is missing"
            continue
        value = fields[name]
        if type(value) is not kind:
            yield f"{name}: {value!r} should be a {kind.__name__}"
        elif kind is list:
            yield from (f"{name}: {item!r} does not fit" for item in value
                        if not isinstance(item, str) or not fits(item, rule))
        elif not fits(value, rule):
            allowed = f", one of {', '.join(map(str, rule))}" if isinstance(rule, list) else ""
            yield f"{name}: {value!r} does not fit{allowed}"


def class_of(ram_mb):
    return max([c for c in CLASSES if c <= ram_mb], default=CLASSES[0])


def sense_problems(board, folder):
    """What fields say about each other."""
    if board["name"] != folder:
        yield f"name: {board['name']}, but the folder is {folder}"
    endian = "big" if board["arch"].startswith(BIG_ENDIAN) else "little"
    if board["endian"] != endian:
        yield f"endian: {board['arch']} is {endian}"
    if board["memory_class"] != class_of(board["ram_mb"]):
        yield f"memory_class: {class_of(board['ram_mb'])} for {board['ram_mb']} MB"
    if board["overlay"] not in OVERLAYS[board["flash_type"]]:
        yield f"overlay: {board['overlay']} is not used on {board['flash_type']}"
    if board["flash_mb"] == 0 and board["flash_type"] != "disk":
        yield "flash_mb: 0 is for disks"
    if board["flash_mb"] and board["image_kb"] > board["flash_mb"] * 1024:
        yield "image_kb: larger than the flash"
    if not board["releases"]:
        yield "releases: none"
    for name in board["unverified"]:
        if name not in FIELDS:
            yield f"unverified: no field {name}"


def folders(root=ROOT):
    """Names of the folders that are boards."""
    return sorted(p.parent.name for p in (root / "boards").glob("*/board.yml"))


def load(name, root=ROOT):
    """The board of that name or profile, checked; BoardError says what is wrong."""
    name = find(name, root)
    path = root / "boards" / name / "board.yml"
    board = parse(path.read_text(encoding="utf-8"), f"boards/{name}/board.yml")
    problems = list(field_problems(board)) or list(sense_problems(board, name))
    for file in ("config", "notes.md"):
        if not (path.parent / file).is_file():
            problems.append(f"there is no boards/{name}/{file}")
    if problems:
        raise BoardError("\n".join(f"boards/{name}/board.yml: {p}" for p in problems))
    return board


def find(word, root=ROOT):
    """The board with this name, or else the only one with this profile."""
    names = folders(root)
    if word in names:
        return word
    profiles = {}
    for name in names:
        text = (root / "boards" / name / "board.yml").read_text(encoding="utf-8")
        match = re.search(r"^profile: (\S+)$", text, re.M)
        if match:
            profiles.setdefault(match.group(1), []).append(name)
    if len(profiles.get(word, [])) == 1:
        return profiles[word][0]
    if word in profiles:
        raise BoardError(f"several boards have the profile {word}: {', '.join(profiles[word])}")
    raise BoardError(f"no board '{word}'{did_you_mean(word, names + list(profiles))} "
                     f"(scripts/board list)")


def config_files(board):
    """Kconfig files of a board, later ones override; relative to the tree."""
    return ["boards/classes/default.config", f"boards/classes/{board['memory_class']}.config",
            f"boards/{board['name']}/config"]


def config_text(board, root=ROOT):
    """The complete configuration, checked against Kconfig."""
    with tempfile.TemporaryDirectory() as out:
        run = subprocess.run(["scripts/kconfig.py", out, *config_files(board)], cwd=root,
                             capture_output=True, text=True, check=False)
        if run.returncode == 3:
            raise BoardError("kconfiglib is not installed: scripts/setup build")
        if run.returncode != 0:
            raise BoardError(f"boards/{board['name']}/config: {run.stderr.strip()}")
        return (Path(out) / "config").read_text(encoding="utf-8")


NOT_MEASURED = "not measured"
ROW = re.compile(r"\| ([^|]+?) \| ([^|]+?) \|(?: ([^|]*?))? \|")


def figures(text):
    """Rows of the table of measured figures: [(what, figure, command)]."""
    part = text.split("\n## Measured\n", 1)[-1].split("\n## ", 1)[0]
    rows = [ROW.fullmatch(line) for line in part.split("\n") if line.startswith("| ")]
    return [row.groups() if row else None for row in rows][1:]


def note(board, what, figure, command, root=ROOT):
    """Fills a row of notes.md, or adds one."""
    path = root / "boards" / board["name"] / "notes.md"
    lines = path.read_text(encoding="utf-8").split("\n")
    if any(set(word) & set("|`\n") or not word.strip() for word in (what, figure, command)):
        raise BoardError("a row has no |, no backquotes, no line breaks and nothing empty in it")
    new = f"| {what} | {figure} | `{command}` |"
    rows = [i for i, line in enumerate(lines) if line.startswith("| ")]
    if not rows:
        raise BoardError(f"boards/{board['name']}/notes.md has no table of figures")
    same = [i for i in rows if lines[i].startswith(f"| {what} |")]
    if same:
        lines[same[0]] = new
    else:
        lines.insert(rows[-1] + 1, new)
    path.write_text("\n".join(lines), encoding="utf-8")
