"""The package's files as reviewers of OpenWrt's feed look at them, and what is in a package made of them."""

import io
import json
import os
import re
import subprocess
import tarfile

import pytest

from router import APPLETS, FEED, PACKAGE, ROOT, make
from support.door import executable

FILES = os.path.join(PACKAGE, "files")
SCRIPTS = [os.path.join(FILES, name) for name in
           ("doorstep.init", "doorstep.defaults", "doorstep.acme", "doorstep.ntp", "doorstep.upgrade", "share-443")]


def text_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


# ---- scripts ----

def test_every_script_is_looked_at():
    shebangs = {os.path.join(FILES, name) for name in os.listdir(FILES)
                if text_of(os.path.join(FILES, name)).startswith("#!")}
    assert shebangs <= set(SCRIPTS)


def test_shellcheck():
    run = subprocess.run(["shellcheck", *SCRIPTS], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_layout_of_scripts():
    run = subprocess.run(["shfmt", "-d", "-s", "-sr", *SCRIPTS], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("path", SCRIPTS, ids=os.path.basename)
def test_busybox_understands(path):
    run = subprocess.run(["busybox", "ash", "-n", path], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_all_files_have_a_licence_and_plain_line_ends():
    for folder, _, names in os.walk(PACKAGE):
        for name in names:
            text = text_of(os.path.join(folder, name))
            assert "\r" not in text and text.endswith("\n"), name
            assert name in ("Config.in", "doorstep.config") or name.endswith(".json") or \
                "SPDX-License-Identifier: ISC" in text, name


def test_nothing_of_a_package_manager_is_called():
    for path in SCRIPTS:
        code = "\n".join(line for line in text_of(path).splitlines() if not line.lstrip().startswith("#"))
        assert not re.search(r"\b(opkg|apk)\b", code), path


@pytest.mark.parametrize("path", SCRIPTS, ids=os.path.basename)
def test_only_tools_of_a_default_openwrt(path):
    applets = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    builtins = "echo printf test [ [[ kill pwd true false".split()
    code = "\n".join(line for line in text_of(path).splitlines() if not line.lstrip().startswith("#"))
    for name in set(applets) - set(APPLETS) - set(builtins) - {"logger", "logread"}:
        call = rf"(?:^|[|;&({{!]|\b(?:then|do|else|if|while|until))\s*{re.escape(name)}(?=[\s;|&)]|$)"
        assert not re.search(call, code, re.M), f"{name} is not on every router"


def test_the_init_script_begins_as_all_do():
    text = text_of(SCRIPTS[0])
    assert text.startswith("#!/bin/sh /etc/rc.common\n") and "\nUSE_PROCD=1\n" in text
    assert not re.search(r"[^&>]&\s*$", text, re.M), "nothing goes to the background"


# ---- Makefile ----

@pytest.fixture(scope="module")
def show():
    return dict(line.split("=", 1) for line in make("show").splitlines())


def test_makefile_says(show):
    assert show["name"] == "doorstep" and show["version"].startswith(version_of_cmake())
    assert (show["section"], show["category"]) == ("net", "Network")
    assert show["license"] == "ISC" and os.path.exists(os.path.join(ROOT, show["license_files"]))
    assert show["userid"] == "doorstep:doorstep"
    assert show["pie"] == "1" and set(show["build_flags"].split()) <= {"gc-sections", "lto", "no-lto", "no-mips16", "no-mold"}
    for path in show["file_depends"].split():
        assert os.path.exists(path)


def version_of_cmake():
    return re.search(r"project\(doorstep VERSION (\S+)", text_of(os.path.join(ROOT, "CMakeLists.txt")))[1]


def test_dependencies_have_the_names_of_the_feeds(show):
    """Base names, without ABI: what the libraries' own Makefiles are called in 24.10 and 25.12."""
    assert show["depends"].split() == ["+libmbedtls", "+libuv", "+libcares", "+libsodium", "+cJSON", "+DOORSTEP_STORE:lmdb", "+ca-bundle"]


def test_every_library_that_is_linked_is_a_dependency(show, program):
    names = {"libuv": "libuv", "libcares": "libcares", "libsodium": "libsodium", "libcjson": "cJSON", "liblmdb": "DOORSTEP_STORE:lmdb",
             "libmbedtls": "libmbedtls", "libmbedx509": "libmbedtls", "libmbedcrypto": "libmbedtls"}
    run = subprocess.run(["objdump", "-p", program], capture_output=True, text=True, check=True)
    needed = re.findall(r"NEEDED\s+(\S+?)\.so", run.stdout)
    assert "libc" in needed and "libuv" in needed
    for name in needed:
        assert name in ("libc", "libm", "libpthread", "ld-linux-x86-64") or "+" + names[name] in show["depends"].split(), name


def test_makefile_layout():
    lines = text_of(os.path.join(PACKAGE, "Makefile")).split("\n")
    order = [lines.index(f"include $({name}") for name in
             ("TOPDIR)/rules.mk", "INCLUDE_DIR)/package.mk", "INCLUDE_DIR)/cmake.mk")]
    last = max(i for i, line in enumerate(lines) if re.match(r"PKG_\w+:=", line))
    assert order[0] < order[1] < order[2] and last < order[1]
    assert lines[-2] == "$(eval $(call BuildPackage,doorstep))"
    inside = None
    for line in lines:
        if line.startswith("define "):
            inside = line.split()[1]
        elif line == "endef":
            inside = None
        elif inside == "Package/doorstep":
            assert re.match(r"  \S", line), line
        elif inside and inside.endswith("/install") or inside == "Build/Prepare":
            assert line.startswith("\t"), line
        elif inside in ("Package/doorstep/conffiles", "Package/doorstep/prerm"):
            assert line[:1].strip(), line


def test_conffiles_are_absolute():
    names = make("conffiles").split()
    assert names == ["/etc/config/doorstep", "/etc/doorstep/"]


def test_menu_symbols():
    """Config.in, PKG_CONFIG_DEPENDS and Kconfig speak of the same things, with the same ranges."""
    menu, kconfig = text_of(os.path.join(PACKAGE, "Config.in")), text_of(os.path.join(ROOT, "Kconfig"))
    show = dict(line.split("=", 1) for line in make("show").splitlines())
    names = re.findall(r"^config (\w+)", menu, re.M)
    assert {"CONFIG_" + name for name in names} == set(show["config_depends"].split())
    for name in names:
        ours = re.search(rf"^config {name}\n(?:[ \t].*\n)*", kconfig, re.M)
        assert ours, name
        theirs = re.search(rf"^config {name}\n(?:[ \t].*\n)*", menu, re.M)
        for word in ("range", "default"):
            wanted = re.findall(rf"^\t{word} (.*)", ours[0], re.M)
            assert re.findall(rf"^\t{word} (.*)", theirs[0], re.M) == wanted, name


@pytest.mark.parametrize("symbols, words", [
    ({"CONFIG_DOORSTEP_OUTBOUND": "y"}, {"CONFIG_DOORSTEP_OUTBOUND=y", "CONFIG_DOORSTEP_STORE=n", "CONFIG_DOORSTEP_LOG_LEVEL=2"}),
    ({"CONFIG_DOORSTEP_STORE": "y"}, {"CONFIG_DOORSTEP_OUTBOUND=n", "CONFIG_DOORSTEP_STORE=y"}),
    ({"CONFIG_DOORSTEP_LOG_DEBUG": "y"}, {"CONFIG_DOORSTEP_OUTBOUND=n", "CONFIG_DOORSTEP_LOG_LEVEL=3"}),
    ({"CONFIG_DOORSTEP_LOG_WARN": "y", "CONFIG_DOORSTEP_MAX_CONNECTIONS": "128"},
     {"CONFIG_DOORSTEP_LOG_LEVEL=1", "CONFIG_DOORSTEP_MAX_CONNECTIONS=128"}),
])
def test_menu_reaches_the_build(tmp_path, symbols, words):
    make("prepare", BUILD_DIR=str(tmp_path), **symbols)
    text = text_of(tmp_path / "doorstep-0.1.0" / "openwrt.config")
    assert words <= set(text.split())
    default = text_of(os.path.join(ROOT, "boards/classes/default.config"))
    for line in text.split():
        assert line.split("=")[0] in default, line


def test_the_build_does_not_fail_for_warnings():
    """Compilers there are newer than ours, and CI is set there too."""
    assert "-DDOORSTEP_WERROR=OFF" in make("cmake-options").split()


def test_the_package_is_built_with_the_menus_words(built):
    header = text_of(os.path.join(built, "..", "doorstep-0.1.0-build", "generated", "config.h"))
    assert "#define CONFIG_DOORSTEP_LOG_LEVEL 2\n" in header and "#define CONFIG_DOORSTEP_OUTBOUND 1\n" in header


def test_version_probe(program):
    """OpenWrt's tests run it without configuration and look for the version."""
    run = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    assert run.returncode == 0 and version_of_cmake() in run.stdout


def test_capabilities_name_all_five_sets():
    sets = json.loads(text_of(os.path.join(FILES, "doorstep.capabilities.json")))
    assert set(sets) == {"bounding", "effective", "permitted", "inheritable", "ambient"}
    assert all(names == ["CAP_NET_BIND_SERVICE"] for names in sets.values())


# ---- configuration ----

def test_the_shipped_configuration(tmp_path):
    """Right as it is, off, opens nothing; and right when every example in it is switched on."""
    path = os.path.join(FILES, "doorstep.config")
    run = subprocess.run([executable(), "config", "needs", path], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert {"enabled 0", "open_firewall 0"} <= set(run.stdout.splitlines()) and "port" not in run.stdout
    run = subprocess.run([executable(), "serve", "--config", path], capture_output=True, text=True, check=False)
    assert run.returncode == 0 and "nothing to do" in run.stderr
    full = tmp_path / "doorstep"
    full.write_text(re.sub(r"^#(config|\t)|^\t#(?=option|list)", lambda m: m[1] or "\t", text_of(path), flags=re.M))
    run = subprocess.run([executable(), "config", "needs", str(full)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert {"port 8448", "state /srv/doorstep", "sleeps 1"} <= set(run.stdout.splitlines())


# ---- packages ----

def members(blob):
    with tarfile.open(fileobj=io.BytesIO(blob), mode="r:gz") as tar:
        return {m.name.removeprefix("."): (m, tar.extractfile(m).read() if m.isfile() else b"") for m in tar}


@pytest.fixture(scope="module")
def packed(program, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed")
    run = subprocess.run([os.path.join(FEED, "pack"), "--executable", program, "--arch", "mips_24kc", "--out", str(out)],
                         capture_output=True, text=True, check=False, env={**os.environ, "SOURCE_DATE_EPOCH": "1790000000"})
    assert run.returncode == 0, run.stdout + run.stderr
    return out


LAYOUT = {  # path: mode
    "/etc/config/doorstep": 0o600, "/etc/init.d/doorstep": 0o755, "/etc/uci-defaults/90-doorstep": 0o755,
    "/etc/capabilities/doorstep.json": 0o644, "/etc/hotplug.d/acme/50-doorstep": 0o644,
    "/etc/hotplug.d/ntp/50-doorstep": 0o644, "/lib/upgrade/doorstep.sh": 0o644, "/lib/upgrade/keep.d/doorstep": 0o644,
    "/usr/libexec/doorstep/share-443": 0o755, "/usr/sbin/doorstep": 0o755}


def test_ipk(packed):
    (path,) = packed.glob("*.ipk")
    assert path.name == "doorstep_0.1.0-r1_mips_24kc.ipk"
    outer = members(path.read_bytes())
    assert outer["/debian-binary"][1] == b"2.0\n"
    data = members(outer["/data.tar.gz"][1])
    assert {name: m.mode for name, (m, _) in data.items() if m.isfile()} == LAYOUT
    assert all(m.uid == m.gid == 0 for m, _ in data.values())
    assert data["/lib/upgrade/keep.d/doorstep"][1] == b"/etc/doorstep/\n"
    control = members(outer["/control.tar.gz"][1])
    fields = dict(line.split(": ", 1) for line in control["/control"][1].decode().splitlines() if ": " in line)
    assert fields["Package"] == "doorstep" and fields["Version"] == "0.1.0-r1" and fields["Architecture"] == "mips_24kc"
    assert fields["Require-User"] == "doorstep:doorstep" and "libmbedtls, libuv" in fields["Depends"]
    # as buildroot's ipkg-build leaves it: at an upgrade opkg gives up over a folder here
    assert control["/conffiles"][1] == b"/etc/config/doorstep\n"
    for name in ("/postinst", "/prerm", "/prerm-pkg"):
        assert control[name][0].mode == 0o755 and control[name][1].startswith(b"#!/bin/sh\n")


def test_apk_tree(packed):
    (tree,) = packed.glob("*.apk.d")
    files = tree / "files"
    found = {"/" + str(path.relative_to(files)): path.stat().st_mode & 0o7777 for path in files.rglob("*") if path.is_file()}
    own = {f"/lib/apk/packages/doorstep.{name}" for name in ("list", "rusers", "conffiles", "conffiles_static")}
    assert {name: mode for name, mode in found.items() if name not in own} == LAYOUT
    assert own <= set(found)
    listed = (files / "lib/apk/packages/doorstep.list").read_text().split()
    assert sorted(listed) == sorted([*LAYOUT, "/lib/apk/packages/doorstep.rusers"])  # as buildroot lists them
    static = (files / "lib/apk/packages/doorstep.conffiles_static").read_text().split()
    assert static[0] == "/etc/config/doorstep" and len(static[1]) == 64 and len(static) == 2
    for name in ("post-install", "post-upgrade", "pre-deinstall"):
        run = subprocess.run(["busybox", "ash", "-n", str(tree / "scripts" / name)], capture_output=True, check=False)
        assert run.returncode == 0, run.stderr
        assert f"--script {name}:scripts/{name}" in (tree / "mkpkg").read_text()
    assert "share-443 disable" in (tree / "scripts" / "pre-deinstall").read_text()


def test_the_same_inputs_give_the_same_bytes(packed, program, tmp_path):
    subprocess.run([os.path.join(FEED, "pack"), "--executable", program, "--arch", "mips_24kc", "--out", str(tmp_path), "ipk"],
                   check=True, capture_output=True, env={**os.environ, "SOURCE_DATE_EPOCH": "1790000000"})
    (one,), (two,) = packed.glob("*.ipk"), tmp_path.glob("*.ipk")
    assert one.read_bytes() == two.read_bytes()


def test_a_static_executable_needs_no_libraries(program, tmp_path):
    subprocess.run([os.path.join(FEED, "pack"), "--executable", program, "--arch", "x86_64", "--static", "--out",
                    str(tmp_path), "ipk"], check=True, capture_output=True)
    (path,) = tmp_path.glob("*.ipk")
    control = members(members(path.read_bytes())["/control.tar.gz"][1])["/control"][1].decode()
    assert "\nDepends: ca-bundle\n" in control
