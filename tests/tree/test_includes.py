"""Includes follow the order of the rooms, and every library stays in its home."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# In dependency order: a file includes from its own room and from those before it.
ROOMS = ["base", "codec", "loop", "net", "store", "fed", "role", "app"]

# Header (or folder of headers) from outside -> the files, below src/, that may use it.
HOMES = {
    "cjson/": "codec/json/tree.c",
    "cJSON.h": "codec/json/tree.c",
    "sodium": ("codec/matrix/signing.c", "codec/aead.c", "codec/x25519.c"),
    "mbedtls/": ("net/tls*.c", "net/tls_inside.h"),
    "psa/": ("net/tls*.c", "net/tls_inside.h"),
    "ares": "net/dns.c",
    "lmdb.h": "store/env.c",
    "pthread.h": "store/env.c",  # its locks, between the loop and the one job that writes
    "uv.h": ("loop/*", "net/*"),
}

# C11 and POSIX, and the few others that glibc and musl both have.
STANDARD = set("""
    assert.h ctype.h errno.h float.h inttypes.h limits.h locale.h math.h setjmp.h signal.h stdalign.h
    stdarg.h stdatomic.h stdbool.h stddef.h stdint.h stdio.h stdlib.h stdnoreturn.h string.h time.h
    dirent.h fcntl.h glob.h grp.h netdb.h poll.h pwd.h strings.h syslog.h unistd.h arpa/inet.h
    net/if.h netinet/in.h netinet/tcp.h sys/file.h sys/mman.h sys/resource.h sys/select.h
    sys/socket.h sys/stat.h sys/statvfs.h sys/time.h sys/types.h sys/uio.h sys/un.h sys/wait.h
    arpa/nameser.h resolv.h sys/prctl.h sys/random.h sys/sysinfo.h sys/syscall.h sys/vfs.h malloc.h
""".split())

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def allowed_from_outside(path, header):
    """May src/path include <header>?"""
    for name, homes in HOMES.items():
        if header.startswith(name) or header.startswith(f"cjson/{name}"):
            homes = (homes,) if isinstance(homes, str) else homes
            return any(Path(path).match(home) or any(Path(str(up)).match(home.rstrip("/*"))
                       for up in Path(path).parents) for home in homes)
    return header in STANDARD or header == "config.h"


def problems(path, text):
    """What is wrong with the includes of src/path."""
    own = ROOMS.index(path.split("/")[0])
    for kind, header in INCLUDE.findall(text):
        room = header.split("/")[0]
        if kind == "<":
            if not allowed_from_outside(path, header):
                yield f"{path}: <{header}> has no place here"
        elif header == "config.h":
            continue
        elif room not in ROOMS or "/" not in header:
            yield f'{path}: "{header}" is not rooted at src/'
        elif ROOMS.index(room) > own:
            yield f'{path}: "{header}" points the wrong way'


def sources():
    return sorted(p for p in (ROOT / "src").rglob("*") if p.suffix in (".c", ".h", ".def"))


def test_checker_sees_each_kind_of_problem():
    rows = [
        ("base/buf.c", '#include "codec/http/head.h"', "points the wrong way"),
        ("fed/resolve.h", '  #  include "role/relay.h"', "points the wrong way"),
        ("net/tls.h", '#include "tls_record.h"', "not rooted"),
        ("role/relay.c", "#include <uv.h>", "no place"),
        ("store/cache.c", "#include <lmdb.h>", "no place"),
        ("codec/json/scan.c", "#include <cjson/cJSON.h>", "no place"),
        ("net/tls.h", "#include <mbedtls/ssl.h>", "no place"),
        ("app/main.c", "#include <sodium.h>", "no place"),
        ("base/buf.c", "#include <gnu/libc-version.h>", "no place"),
        ("role/relay.c", '#include "net/fetch.h"\n#include <stdio.h>\n#include "config.h"', None),
        ("net/tls_session.c", "#include <mbedtls/ssl.h>\n#include <psa/crypto.h>", None),
        ("net/dns.c", "#include <ares.h>\n#include <uv.h>", None),
        ("loop/dial.c", "#include <uv.h>", None),
        ("codec/json/tree.c", "#include <cjson/cJSON.h>", None),
        ("store/env.c", "#include <lmdb.h>", None),
    ]
    for path, text, expected in rows:
        found = list(problems(path, text))
        if expected is None:
            assert found == [], (path, text)
        else:
            assert len(found) == 1 and expected in found[0], (path, text, found)


def test_there_are_sources():
    assert {p.relative_to(ROOT / "src").parts[0] for p in sources()} >= set(ROOMS)


def test_includes():
    found = []
    for file in sources():
        path = file.relative_to(ROOT / "src").as_posix()
        found += problems(path, file.read_text(encoding="utf-8"))
    assert not found, "\n".join(found)
