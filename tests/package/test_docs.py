"""What the documentation tells people to write is what doorstep reads, in both languages."""

import os
import re
import subprocess

import pytest

from router import ROOT
from support.door import executable

PAGES = ["README.md", "docs/configuration.md", "docs/homeserver.md", "docs/openwrt.md", "docs/openwrt.de.md"]
MAIN = """
config doorstep 'main'
	option enabled '1'
	option state_dir '/srv/doorstep'
"""
BASE = """
config homeserver 'nas'
	option url 'http://192.168.1.20:8008'

config domain 'home'
	option server_name 'socialnetwork24.com'
	option homeserver 'nas'
	list certificate '/etc/ssl/acme/example.org.fullchain.crt'
	list key '/etc/ssl/acme/example.org.key'

config listen 'federation'
	option port '8448'

config outbound 'lan'
	option listen '192.168.1.1:8009'
	option homeserver 'nas'
	option secret_file '/etc/doorstep/outbound.secret'
"""


def page(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def fenced(text):
    """[(language, block)]"""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)


def indented(text):
    """Blocks that are set in by four blanks, of UCI."""
    plain = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", plain, re.M)
    return [block for block in blocks if block.lstrip("\n").startswith("    config ")]


def fragments():
    for name in PAGES:
        text = page(name)
        for number, block in enumerate([b for word, b in fenced(text) if word == "uci"] + indented(text)):
            yield pytest.param(block, id=f"{os.path.basename(name)}-{number}")


@pytest.mark.parametrize("block", list(fragments()))
def test_uci_fragments(tmp_path, block):
    """A whole configuration is right by itself, another fragment as an addition to one."""
    path = tmp_path / "doorstep"
    has_main = "config doorstep" in block
    is_whole = has_main and ("config domain" in block or "config outbound" in block)
    path.write_text(block if is_whole else BASE + block if has_main else MAIN + BASE + block)
    run = subprocess.run([executable(), "config", "needs", str(path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr + path.read_text()


def test_there_are_fragments():
    """So that a change of layout does not leave nothing to check."""
    names = [param.id for param in fragments()]
    for name, least in (("README.md", 1), ("configuration.md", 3), ("homeserver.md", 2), ("openwrt.md", 4), ("openwrt.de.md", 4)):
        assert len([n for n in names if n.startswith(name)]) >= least, names


def without_remarks(block):
    return [re.sub(r"\s+#.*$", "", line).rstrip() for line in block.splitlines()]


def test_both_languages_say_the_same():
    english, german = fenced(page("docs/openwrt.md")), fenced(page("docs/openwrt.de.md"))
    assert len(english) == len(german)
    for (one, text), (other, anderer) in zip(english, german):
        assert one == other and without_remarks(text) == without_remarks(anderer)
    headings = [len(re.findall(r"^#{1,3} ", page(name), re.M)) for name in ("docs/openwrt.md", "docs/openwrt.de.md")]
    assert headings[0] == headings[1]
    commands = [sorted(set(re.findall(r"`(doorstep [a-z]+(?: [a-z]+)?|/etc/[\w./-]+|/usr/[\w./-]+)`",
                                      re.sub(r"\s+", " ", page(name))))) for name in ("docs/openwrt.md", "docs/openwrt.de.md")]
    assert commands[0] == commands[1]


def test_every_topic_of_check_is_explained():
    topics = set()
    for name in os.listdir(os.path.join(ROOT, "src/app")):
        if name.startswith("check_") and name.endswith(".c"):
            topics |= set(re.findall(r'check_say\([^"]*?"(\w+)"', page(f"src/app/{name}")))
    assert {"clock", "port", "line", "name", "homeserver"} <= topics
    for document in ("docs/openwrt.md", "docs/openwrt.de.md"):
        explained = set(re.findall(r"^\| `(\w+)` \|", page(document), re.M))
        assert explained == topics, document


def test_links_lead_somewhere():
    for name in [*PAGES, "firmware/openwrt/README.md"]:
        for target in re.findall(r"\]\(([^)]+)\)", page(name)):
            path, _, anchor = target.partition("#")
            if "://" in target:
                continue
            whole = os.path.normpath(os.path.join(ROOT, os.path.dirname(name), path)) if path else os.path.join(ROOT, name)
            assert os.path.exists(whole), f"{name}: {target}"
            if anchor:
                with open(whole, encoding="utf-8") as file:
                    headings = re.findall(r"^#+ (.*)$", file.read(), re.M)
                made = [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings]
                assert anchor in made, f"{name}: {target}"


def test_commands_of_the_pages_exist():
    """Every verb that is shown is one."""
    for name in [*PAGES, "firmware/openwrt/README.md"]:
        text = page(name)
        code = "\n".join([block for word, block in fenced(text) if word == "sh"] + re.findall(r"^    (.*)$", text, re.M))
        for verb, more in set(re.findall(r"^doorstep ([a-z]+)(?: ([a-z]+))?", code, re.M)):
            words = [verb, more] if verb in ("config", "queue") and more else [verb]
            run = subprocess.run([executable(), *words, "--help"], capture_output=True, text=True, check=False)
            assert run.returncode == 0, f"{name}: doorstep {' '.join(words)}"
