#!/usr/bin/env python3
"""Print apt source entries for another Debian release, from this machine's own.

usage: next_release_sources.py [--binary] SUITE

apt itself says which of its entries provide Debian's main archive and its
security updates; each becomes a deb-src entry (deb822), or deb with --binary,
with the suite replaced and the Signed-By of the original kept. Nothing is
installed or changed.
"""

import re
import subprocess
import sys

FORMAT = "$(REPO_URI)|$(LABEL)|$(SOURCESENTRY)"
FILTER = ["Origin: Debian", "Component: main", "Identifier: Packages"]


def targets():
    """(uri, label, file) of every Debian main index that apt knows."""
    out = subprocess.run(
        ["apt-get", "indextargets", "--format", FORMAT, *FILTER],
        check=True, capture_output=True, text=True).stdout
    for line in sorted(set(out.splitlines())):
        uri, label, entry = line.split("|")
        yield uri.rstrip("/"), label, entry.rsplit(":", 1)[0]


def signed_by(path, uri):
    """The Signed-By value (a path, a fingerprint or a key block) that goes with uri in path."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if not path.endswith(".sources"):
        for line in text.splitlines():
            found = re.match(r"\s*deb\s+\[([^]]*)\]\s+(\S+)", line)
            if found and found[2].rstrip("/") == uri:
                option = re.search(r"signed-by=(\S+)", found[1])
                return option[1].replace(",", " ") if option else None
        return None
    for stanza in re.split(r"\n\s*\n", re.sub(r"(?m)^#.*\n?", "", text)):
        uris = re.search(r"(?mi)^URIs:((?:.*\n?)(?:[ \t].*\n?)*)", stanza)
        if not uris or uri not in [one.rstrip("/") for one in uris[1].split()]:
            continue
        key = re.search(r"(?mi)^Signed-By:((?:.*\n?)(?:[ \t].*\n?)*)", stanza)
        return key[1].strip() if key else None
    return None


def main(suite, kind="deb-src"):
    done = set()
    # the archive before its security updates: apt takes the first that has a version
    for uri, label, path in sorted(targets(), key=lambda target: "security" in target[1].lower()):
        if uri in done:
            continue
        done.add(uri)
        security = "security" in label.lower()
        print("Types:", kind)
        print("URIs:", uri)
        print("Suites:", f"{suite}-security" if security else f"{suite} {suite}-updates")
        print("Components: main")
        key = signed_by(path, uri)
        if key:
            print("Signed-By:", key)
        print()


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--binary":
        main(sys.argv[2], "deb")
    elif len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        sys.exit(__doc__)
