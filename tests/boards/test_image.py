"""firmware/image/build asks an ImageBuilder for the right thing, and for nothing that would not work."""

import re
import runpy
import subprocess
from pathlib import Path

import pytest

from support.imagebuilder import PACKAGES, FakeImageBuilder
from support.pki import Authority
from support.door import executable

ROOT = Path(__file__).resolve().parents[2]
TOOL = runpy.run_path(str(ROOT / "firmware/image/build"))
ARCHER = "tplink-archer-c7-v2"
SITE = ["--domain", "example.org", "--homeserver", "http://192.168.1.20:8008"]


class Bench:
    """An ImageBuilder, a folder of packages, and the command."""

    def __init__(self, tmp_path):
        self.tmp = tmp_path
        self.packages = tmp_path / "packages"
        self.packages.mkdir()
        self.out = tmp_path / "images"
        self.builder = None

    def imagebuilder(self, **options):
        self.builder = FakeImageBuilder(self.tmp / "imagebuilder", **options)
        return self.builder

    def package(self, name, size=1000):
        (self.packages / name).write_bytes(b"p" * size)

    def build(self, *words, board=ARCHER, status=0, builder=None):
        run = subprocess.run(
            [ROOT / "firmware/image/build", "--board", board, "--imagebuilder", builder or self.builder.root,
             "--out", self.out, *words], capture_output=True, text=True, check=False, cwd=self.tmp)
        assert run.returncode == status, run.stdout + run.stderr
        self.stderr = run.stderr
        return run.stdout if status == 0 else run.stderr


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def archer(bench):
    """With an ImageBuilder and a package that fit."""
    bench.imagebuilder()
    bench.package("doorstep_0.1.0-r1_mips_24kc.ipk", 250000)
    return bench


def with_packages(bench):
    return ["--packages", bench.packages]


# ---- what is asked ----

def test_every_argument(archer):
    out = archer.build(*with_packages(archer), *SITE, "--package", "luci", "--package", "-ppp")
    (_, values, packages), = archer.builder.calls("image")
    assert values == {"PROFILE": "tplink_archer-c7-v2", "PACKAGES": "doorstep luci -ppp",
                      "FILES": f"{archer.out}.overlay", "EXTRA_IMAGE_NAME": "doorstep", "BIN_DIR": str(archer.out)}
    assert packages == ["doorstep_0.1.0-r1_mips_24kc.ipk"]
    assert [call[0] for call in archer.builder.calls()] == ["info", "manifest", "package_list", "image"]
    (_, values, _), = archer.builder.calls("manifest")
    assert values == {"PROFILE": "tplink_archer-c7-v2", "PACKAGES": "doorstep luci -ppp", "STRIP_ABI": "1"}
    for image in archer.out.glob("*.bin"):
        assert f"{image}: 9216 KiB" in out
    assert len(re.findall(r"sha256 [0-9a-f]{64}", out)) == 2
    assert "6976 KiB are left of 16192" in out


def test_printed_command_is_the_command(archer):
    """What a dry run prints can be pasted into a shell."""
    out = archer.build(*with_packages(archer), *SITE, "--package", "luci", "--dry-run")
    assert [call[0] for call in archer.builder.calls()] == ["info"]
    assert not archer.out.exists() and not any((archer.builder.root / "packages").iterdir())
    command = next(line for line in out.splitlines() if line.startswith("make "))
    archer.out.mkdir()
    (archer.builder.root / "packages/doorstep_0.1.0-r1_mips_24kc.ipk").write_bytes(b"p")
    subprocess.run(command, shell=True, check=True, capture_output=True)
    (_, values, _), = archer.builder.calls("image")
    assert values["PACKAGES"] == "doorstep luci" and values["FILES"] == f"{archer.out}.overlay"


def test_environment_does_not_leak_in(archer, monkeypatch):
    for name in ("PROFILE", "PACKAGES", "FILES", "BIN_DIR", "DISABLED_SERVICES", "MAKEFLAGS"):
        monkeypatch.setenv(name, "wrong")
    archer.build(*with_packages(archer))
    (_, values, _), = archer.builder.calls("image")
    assert set(values) == {"PROFILE", "PACKAGES", "EXTRA_IMAGE_NAME", "BIN_DIR"} and "wrong" not in values.values()


def test_without_settings_there_is_no_overlay(archer):
    archer.build(*with_packages(archer))
    (_, values, _), = archer.builder.calls("image")
    assert "FILES" not in values


def test_package_of_a_feed(bench):
    bench.imagebuilder(in_feeds=True)
    assert "from a feed" in bench.build()
    (_, _, packages), = bench.builder.calls("image")
    assert packages == []


def test_package_that_is_nowhere(bench):
    bench.imagebuilder()
    assert "Unknown package 'doorstep'" in bench.build(status=1)


def test_rootfs_of_a_disk(bench):
    bench.imagebuilder(target="x86/64", arch="x86_64", profiles=("generic",), in_feeds=True, image_bytes=200 << 20)
    out = bench.build("--rootfs-mb", "256", board="x86-64")
    (_, values, _), = bench.builder.calls("image")
    assert values["ROOTFS_PARTSIZE"] == "256" and "a disk of any size" in out


def test_rootfs_of_flash_is_refused(archer):
    assert "nor flash" in archer.build("--rootfs-mb", "256", status=1)


# ---- packages ----

def test_packages_of_other_architectures_stay(bench):
    bench.imagebuilder()
    for name in ("doorstep_0.1.0-r1_mipsel_24kc.ipk", "doorstep_0.1.0-r1_mips_24kc.ipk", "luci-app-doorstep_1_all.ipk",
                 "doorstep-0.1.0-r1.apk", "something-else_1_mips_24kc.ipk", "Packages.gz"):
        bench.package(name)
    bench.build(*with_packages(bench))
    (_, _, packages), = bench.builder.calls("image")
    assert packages == ["doorstep_0.1.0-r1_mips_24kc.ipk", "luci-app-doorstep_1_all.ipk"]


def test_earlier_packages_go(archer):
    place = archer.builder.root / "packages"
    for name in ("doorstep_0.0.9-r1_mips_24kc.ipk", "libc_1_mips_24kc.ipk"):
        (place / name).write_text("old")
    archer.build(*with_packages(archer))
    (_, _, packages), = archer.builder.calls("image")
    assert packages == ["doorstep_0.1.0-r1_mips_24kc.ipk", "libc_1_mips_24kc.ipk"]


def test_no_package_for_this_release(bench):
    bench.imagebuilder(release="25.12.0", apk=True)
    bench.package("doorstep_0.1.0-r1_mips_24kc.ipk")
    error = bench.build(*with_packages(bench), status=1)
    assert "no doorstep package for OpenWrt 25.12.0 (apk, mips_24kc)" in error


def test_apk(bench):
    bench.imagebuilder(release="25.12.0", apk=True)
    bench.package("doorstep-0.1.0-r1.apk")
    bench.build(*with_packages(bench), *SITE)
    (_, _, packages), = bench.builder.calls("image")
    assert packages == ["doorstep-0.1.0-r1.apk"]


def test_apk_is_made_of_a_draft(bench):
    """Debian has no apk; the ImageBuilder brings its own."""
    bench.imagebuilder(release="25.12.0", apk=True)
    for arch in ("mips_24kc", "x86_64"):
        draft = bench.packages / f"doorstep-0.1.0-r1.{arch}.apk.d" if arch == "x86_64" else \
            bench.packages / "doorstep-0.1.0-r1.apk.d"
        draft.mkdir()
        (draft / "mkpkg").write_text(f"apk mkpkg \\\n\t--info arch:{arch} \\\n\t--output ../doorstep-0.1.0-r1.apk\n")
    bench.build(*with_packages(bench))
    (_, _, packages), = bench.builder.calls("image")
    assert packages == ["doorstep-0.1.0-r1.apk"]
    assert not list(bench.packages.glob("*.apk")), "the folder of packages is left as it was"


# ---- is it the right ImageBuilder? ----

@pytest.mark.parametrize("options,words,expected", [
    ({"target": "ath79/nand"}, [], "is for ath79/nand, tplink-archer-c7-v2 needs ath79/generic"),
    ({"target": "ath79/nand"}, [], "ath79-generic.Linux-x86_64"),
    ({"arch": "mipsel_24kc"}, [], "installs packages for mipsel_24kc"),
    ({"profiles": ("tplink_archer-c7-v4",)}, [], "no profile tplink_archer-c7-v2; did you mean tplink_archer-c7-v4?"),
    ({"release": "23.05.3"}, ["--release", "24.10"], "of release 23.05.3, not 24.10"),
    ({"release": "24.1"}, ["--release", "24.10"], "of release 24.1, not 24.10"),
])
def test_wrong_imagebuilder(bench, options, words, expected):
    bench.imagebuilder(in_feeds=True, **options)
    assert expected in bench.build(*words, status=1)
    assert not bench.builder.calls("image")


def test_unknown_release_is_only_noted(bench):
    bench.imagebuilder(release="26.04.0", in_feeds=True)
    assert "note: tplink-archer-c7-v2 is known for 24.10, 25.12, not for 26.04.0" in bench.build()


def test_no_imagebuilder(bench):
    assert "is no ImageBuilder, Makefile is missing" in bench.build(builder=bench.packages, status=1)


def test_mistyped_board(archer):
    assert "did you mean tplink-archer-c7-v2?" in archer.build(board="tplink-archer-c7", status=1)


# ---- sizes ----

def test_too_large_before(archer):
    """Known before anything is built: the packages alone are more than the flash."""
    archer.builder.root.joinpath("fake.json").write_text(
        archer.builder.root.joinpath("fake.json").read_text().replace('"libc": 240000', '"libc": 24000000'))
    error = archer.build(*with_packages(archer), status=1)
    assert "more than the 16192 KiB" in error and not archer.builder.calls("image")
    archer.build(*with_packages(archer), "--force")
    assert archer.builder.calls("image")


def test_estimate_counts_what_it_knows(archer):
    out = archer.build(*with_packages(archer))
    known = sum(size for name, size in PACKAGES.items() if name not in ("luci", "ppp"))
    assert f"estimate: {-(-known // 1024)} KiB of packages and kernel as they are stored, without 2 whose" in out


def test_kernel_is_counted(archer):
    kernel = archer.builder.root / "build_dir/target-mips/linux-ath79_generic/tplink_archer-c7-v2-kernel.bin"
    kernel.parent.mkdir(parents=True)
    kernel.write_bytes(b"k" * (2 << 20))
    out = archer.build(*with_packages(archer))
    known = sum(size for name, size in PACKAGES.items() if name not in ("luci", "ppp")) + (2 << 20)
    assert f"estimate: {-(-known // 1024)} KiB" in out and "without 1 whose" in out


def test_too_large_after(bench):
    bench.imagebuilder(image_bytes=17 << 20, in_feeds=True)
    assert "is larger than the 16192 KiB" in bench.build(status=1)


def test_imagebuilder_knows_the_size_better(bench):
    bench.imagebuilder(image_bytes=9 << 20, image_size=8000, in_feeds=True)
    assert "is larger than the 8000 KiB that tplink-archer-c7-v2 takes (IMAGE_SIZE of the profile)" in \
        bench.build(status=1)


def test_no_image_came_out(bench):
    bench.imagebuilder(image_bytes=0, in_feeds=True)
    assert "left no image" in bench.build(status=1)


def test_other_peoples_files_are_safe(archer):
    archer.out.mkdir()
    (archer.out / "thesis.tex").write_text("years of work")
    assert "holds other things" in archer.build(*with_packages(archer), status=1)
    assert (archer.out / "thesis.tex").exists()
    assert not archer.builder.calls("image")


def test_a_second_run_replaces_the_first(archer):
    archer.build(*with_packages(archer))
    (archer.out / "old-squashfs-sysupgrade.bin").write_text("old")
    archer.build(*with_packages(archer))
    assert not (archer.out / "old-squashfs-sysupgrade.bin").exists()


def test_paths_that_make_cannot_handle(bench):
    bench.imagebuilder(in_feeds=True)
    bench.out = bench.tmp / "my images"
    assert "make cannot handle" in bench.build(status=1)


# ---- first boot ----

class Uci:
    """`uci batch`, as far as the script uses it, into UCI text for doorstep."""

    def __init__(self, script):
        lines = script.splitlines()
        begin = next(i for i, line in enumerate(lines) if line.endswith("|| exit 1"))
        self.lines = lines[begin + 1:lines.index("END_OF_SETTINGS")]
        self.sections, self.committed = {"main": ["doorstep", [("option", "enabled", "'0'")]],
                                         "openwrt": ["openwrt", [("option", "open_firewall", "'0'")]]}, False
        for line in self.lines:
            self.command(line)

    def command(self, line):
        if line == "commit doorstep":
            self.committed = True
            return
        assert not self.committed
        match = re.fullmatch(r"(set|add_list) doorstep\.(\w+)(?:\.(\w+))?=('(?:[^']|'\\'')*')", line)
        assert match, line
        command, section, option, value = match.groups()
        if option is None:
            assert command == "set" and section not in self.sections
            self.sections[section] = [value[1:-1], []]
        else:
            options = self.sections[section][1]
            if command == "set":
                options[:] = [row for row in options if row[1] != option]
            options.append(("list" if command == "add_list" else "option", option, value))

    def text(self):
        return "".join(f"config {kind} '{name}'\n" + "".join(f"\t{word} {option} {value}\n" for word, option, value in rows)
                       for name, (kind, rows) in self.sections.items())


def first_boot(archer, *words):
    archer.build(*with_packages(archer), *words)
    (path, (mode, script)), = archer.builder.rootfs().items()
    assert path == "/etc/uci-defaults/99-doorstep-site" and mode == "0o755"
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    return script


def judge(text, tmp_path):
    """(accepted by doorstep, what it says)."""
    file = tmp_path / "doorstep.conf"
    file.write_text(text)
    run = subprocess.run([executable(), "config", "check", file], capture_output=True, text=True, check=False)
    return run.returncode == 0, run.stdout + run.stderr


ALL = [*SITE, "--delegate", "matrix.example.org:8448", "--outbound", "192.168.1.1:8009", "--state-dir", "/srv/doorstep",
       "--wake-mac", "00:11:22:33:44:55", "--open-firewall"]


def test_settings_are_what_doorstep_takes(archer, tmp_path):
    uci = Uci(first_boot(archer, *ALL))
    assert uci.committed
    assert dict((option, value) for _, option, value in uci.sections["home"][1]) == {
        "server_name": "'example.org'", "homeserver": "'nas'", "delegate": "'matrix.example.org:8448'",
        "certificate": "'/etc/ssl/acme/matrix.example.org.fullchain.crt'",
        "key": "'/etc/ssl/acme/matrix.example.org.key'"}
    # what is made on the router
    made = Authority(str(tmp_path / "pki")).issue("example.org", "matrix.example.org")
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef" * 3)
    text = uci.text()
    for path, here in (("/etc/ssl/acme/matrix.example.org.fullchain.crt", made.chain),
                       ("/etc/ssl/acme/matrix.example.org.key", made.key), ("/etc/doorstep/outbound.secret", secret)):
        assert path in text
        text = text.replace(path, str(here))
    accepted, said = judge(text, tmp_path)
    assert accepted, said


@pytest.mark.parametrize("words,enabled", [(SITE, "'0'"), ([*SITE, "--enable"], "'1'")])
def test_off_unless_asked(archer, words, enabled):
    rows = Uci(first_boot(archer, *words)).sections["main"][1]
    assert [value for _, option, value in rows if option == "enabled"] == [enabled]


@pytest.mark.parametrize("words,open_", [(SITE, "'0'"), ([*SITE, "--open-firewall"], "'1'")])
def test_closed_unless_asked(archer, words, open_):
    assert Uci(first_boot(archer, *words)).sections["openwrt"][1] == [("option", "open_firewall", open_)]


def test_a_kept_configuration_stays(archer):
    """After an upgrade the script runs again, on a router whose owner may have changed everything."""
    script = first_boot(archer, *SITE)
    for kept, calls in (("doorstep.x=domain", 1), ("doorstep.main=doorstep", 2)):
        shim = f"calls=0; uci() {{ calls=$((calls+1)); case $* in *show*) echo '{kept}';; *) cat >/dev/null;; esac; }}\n" \
            "trap 'echo $calls' EXIT\n"
        # in a pipe it is counted in another process: the one behind it counts here
        run = subprocess.run(["sh"], input=shim + script, capture_output=True, text=True, check=False)
        assert run.returncode == 0 and run.stdout.strip() == str(calls - 1), run


NAMES = ["example.org", "Example.ORG", "a", "localhost", "example.org:8448", "1.2.3.4", "1.2.3.4:1", "[::1]", "[2001:db8::1]:443",
         "xn--mnchen-3ya.de", "a" * 63 + ".org", "1.example", "x--y.org", "-", "-x.org"]
NO_NAMES = ["", "example..org", ".org", "org.", "example.org:", "example.org:0", "example.org:65536", "example.org:123456",
            "exa mple.org", "exämple.org", "example.org/x", "a" * 64 + ".org", "1.2.3", "1.2.3.4.5", "256.1.1.1", "127.1",
            "[::1", "[::g]", "::1", "a'b.org", "a;b", "a$b.org", "a`b`.org", 'a"b.org', "a\nb.org", "x_y.org",
            "*.example.org", "http://example.org", "a\\b.org", "#x", "a.org;reboot"]


@pytest.mark.parametrize("name", NAMES + NO_NAMES)
def test_names_as_doorstep_takes_them(tmp_path, name):
    """The tool and the daemon agree on every name, and nothing hostile gets into a shell script."""
    value = "'" + name.replace("'", "'\\''") + "'"
    accepted, said = judge(f"config doorstep 'main'\n\toption enabled '1'\nconfig domain 'd'\n"
                           f"\toption server_name {value}\n", tmp_path)
    assert accepted == TOOL["is_server_name"](name) == (name in NAMES), said


@pytest.mark.parametrize("words", [
    ["--domain", "example.org'; reboot; '"], ["--domain", "a b"], ["--domain", "example.org", "--homeserver", "192.168.1.20"],
    ["--domain", "example.org", "--homeserver", "http://x'y"], ["--domain", "example.org", "--homeserver", "http://a/b?c"],
    ["--domain", "example.org", "--homeserver", "ftp://a"], ["--domain", "example.org", "--delegate", "$(reboot)"],
    [*SITE, "--outbound", "nas:8009"], [*SITE, "--outbound", "1.2.3.4"], [*SITE, "--wake-mac", "00:11:22:33:44"],
    [*SITE, "--state-dir", "srv"], [*SITE, "--state-dir", "/srv/a'b"], [*SITE, "--state-dir", "/tmp/x"],
    [*SITE, "--state-dir", "/var/lib"], ["--homeserver", "http://a"], ["--delegate", "a.org"], ["--enable"],
    ["--domain", "example.org", "--wake-mac", "00:11:22:33:44:55"], ["--package", "a b"], ["--package", "$(reboot)"],
    ["--package", "--x"]])
def test_bad_settings_are_refused(archer, words):
    error = archer.build(*with_packages(archer), *words, status=1)
    assert error.startswith("build: --") and not archer.builder.calls()


# ---- files and secrets ----

def test_files_are_copied(archer):
    files = archer.tmp / "files"
    (files / "etc/config").mkdir(parents=True)
    (files / "etc/banner").write_text("hello\n")
    archer.build(*with_packages(archer), *SITE, "--files", files)
    rootfs = archer.builder.rootfs()
    assert rootfs["/etc/banner"][1] == "hello\n" and "/etc/uci-defaults/99-doorstep-site" in rootfs


@pytest.mark.parametrize("path,text", [
    ("etc/doorstep/outbound.secret", "x"), ("etc/ssl/acme/example.org.key", "x"), ("etc/shadow", "root::0"),
    ("etc/dropbear/dropbear_ed25519_host_key", "x"), ("root/.ssh/id_ed25519", "x"),
    ("etc/x", "-----BEGIN PRIVATE KEY-----\n"), ("etc/config/wireless", "\toption key 'hunter2'\n"),
    ("etc/config/network", "\toption private_key 'abc='\n")])
def test_secrets_are_refused_unless_asked(archer, path, text):
    file = archer.tmp / "files" / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    words = [*with_packages(archer), *SITE, "--files", archer.tmp / "files"]
    assert f"{path}: looks like a secret" in archer.build(*words, status=1)
    assert not archer.builder.calls() and not Path(f"{archer.out}.overlay").exists()
    archer.build(*words, "--with-secrets")
    assert "warning: the image will hold secrets" in archer.stderr
    assert "/" + path in archer.builder.rootfs()


def test_no_secret_is_in_an_image_by_itself(archer):
    script = first_boot(archer, *ALL)
    assert "secret_file='/etc/doorstep/outbound.secret'" in script and "PRIVATE" not in script


# ---- with the package as it is made ----

@pytest.mark.parametrize("release,apk", [("24.10.2", False), ("25.12.0", True)])
def test_takes_what_pack_makes(bench, release, apk):
    subprocess.run([ROOT / "firmware/openwrt/pack", "--executable", executable(), "--arch", "mips_24kc", "--static",
                    "--out", bench.packages], cwd=ROOT, check=True, capture_output=True)
    bench.imagebuilder(release=release, apk=apk)
    bench.build(*with_packages(bench), *SITE)
    (_, _, packages), = bench.builder.calls("image")
    assert len(packages) == 1
    assert re.fullmatch(r"doorstep-[\w.-]+\.apk" if apk else r"doorstep_[\w.-]+_mips_24kc\.ipk", packages[0])


def test_settings_fit_the_package(archer, tmp_path):
    """The sections that the script fills are not those of the package's own default configuration."""
    default = (ROOT / "firmware/openwrt/doorstep/files/doorstep.config").read_text(encoding="utf-8")
    shipped = dict(re.findall(r"^config (\w+) '(\w+)'$", default, re.M))
    assert shipped == {"doorstep": "main", "openwrt": "openwrt"}, "the script sets options of these"
    sections = Uci(first_boot(archer, *ALL)).sections
    assert not {"nas", "home", "federation", "lan"} & set(shipped.values())
    assert {kind for kind, _ in sections.values()} == {"doorstep", "openwrt", "homeserver", "domain", "listen", "outbound"}
