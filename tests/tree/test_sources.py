"""scripts/next_release_sources.py finds the key that belongs to an entry, in both formats of apt."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("sources", ROOT / "scripts/next_release_sources.py")
sources = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sources)

DEB822 = """\
Types: deb
# a remark
URIs: http://other.example/debian
Suites: bookworm
Components: main
Signed-By: /keys/other.gpg

Types: deb deb-src
URIs: http://one.example/debian/ http://two.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://bare.example/debian
Suites: bookworm
Components: main
"""

ONE_LINE = """\
# deb [signed-by=/keys/no.gpg] http://one.example/debian bookworm main
deb http://bare.example/debian bookworm main
deb [arch=amd64 signed-by=/keys/a.gpg,/keys/b.gpg] http://one.example/debian/ bookworm main
"""

BLOCK = ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"
         " -----END PGP PUBLIC KEY BLOCK-----")

ROWS = [
    ("debian.sources", DEB822, "http://other.example/debian", "/keys/other.gpg"),
    ("debian.sources", DEB822, "http://two.example/debian", BLOCK),
    ("debian.sources", DEB822, "http://one.example/debian", BLOCK),
    ("debian.sources", DEB822, "http://bare.example/debian", None),
    ("debian.sources", DEB822, "http://absent.example/debian", None),
    ("sources.list", ONE_LINE, "http://one.example/debian", "/keys/a.gpg /keys/b.gpg"),
    ("sources.list", ONE_LINE, "http://bare.example/debian", None),
]


def test_signed_by(tmp_path):
    for name, text, uri, expected in ROWS:
        (tmp_path / name).write_text(text)
        assert sources.signed_by(str(tmp_path / name), uri) == expected, (name, uri)
