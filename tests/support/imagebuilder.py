"""A folder that answers as an unpacked OpenWrt ImageBuilder does, and writes down what it was asked.

The Makefile is read by the real make, so words and quotes arrive as they would. What the real one
refuses is refused: unknown profiles, packages that are nowhere, folders that do not exist. A variable
that it does not have fails the run, so that no argument goes unchecked.
"""

import json
import os
import sys
from pathlib import Path

VARIABLES = ("PROFILE", "PACKAGES", "FILES", "BIN_DIR", "EXTRA_IMAGE_NAME", "DISABLED_SERVICES", "ROOTFS_PARTSIZE",
             "ADD_LOCAL_KEY", "STRIP_ABI", "PACKAGE")

MAKEFILE = """\
TOPDIR:=${CURDIR}
given = $(foreach v,%(variables)s,$(if $(filter command environment,$(firstword $(origin $(v)))),$(v)))
unknown = $(filter-out $(addsuffix =%%,%(variables)s),$(filter %%=%%,$(MAKEOVERRIDES)))
export %(variables)s

info manifest package_list image:
	@GIVEN='$(given)' OVERRIDES='$(-*-command-variables-*-)' %(python)s %(script)s $(TOPDIR) $@
.PHONY: info manifest package_list image
"""

PACKAGES = {"base-files": 52000, "busybox": 220000, "libc": 240000, "dnsmasq": 160000, "luci": 3000,
            "ca-bundle": 130000, "libmbedtls21": 340000, "doorstep": 250000, "ppp": 110000}


class FakeImageBuilder:
    """
    image_bytes  size of the images that it makes
    sizes        {package: bytes} of its feeds and of what is always in an image
    """

    def __init__(self, root, target="ath79/generic", arch="mips_24kc", release="24.10.2", apk=False,
                 profiles=("tplink_archer-c7-v2", "glinet_gl-ar300m16"), image_bytes=9 << 20, sizes=None,
                 in_feeds=False, image_size=None):
        self.root = root
        board, subtarget = target.split("/")
        (root / "include").mkdir(parents=True)
        (root / "packages").mkdir()
        images = root / f"target/linux/{board}/image"
        images.mkdir(parents=True)
        (root / ".config").write_text(
            f'CONFIG_TARGET_BOARD="{board}"\nCONFIG_TARGET_SUBTARGET="{subtarget}"\n# CONFIG_X is not set\n'
            f'CONFIG_TARGET_ARCH_PACKAGES="{arch}"\n' + ("CONFIG_USE_APK=y\n" if apk else ""))
        (root / "include/version.mk").write_text(
            "VERSION_NUMBER:=$(call qstrip,$(CONFIG_VERSION_NUMBER))\n"
            f"VERSION_NUMBER:=$(if $(VERSION_NUMBER),$(VERSION_NUMBER),{release})\n")
        for profile in profiles if image_size else ():
            with open(images / "generic.mk", "a", encoding="utf-8") as file:
                file.write(f"define Device/{profile}\n  SOC := x\n  IMAGE_SIZE := {image_size}k\nendef\n\n")
        (root / "Makefile").write_text(MAKEFILE % {
            "variables": " ".join(VARIABLES), "python": sys.executable, "script": Path(__file__).resolve()})
        (root / "fake.json").write_text(json.dumps({
            "target": target, "release": release, "apk": apk, "profiles": list(profiles),
            "image_bytes": image_bytes, "sizes": sizes or PACKAGES, "in_feeds": in_feeds}))
        if apk:
            tool = root / "staging_dir/host/bin/apk"
            tool.parent.mkdir(parents=True)
            tool.write_text("#!/bin/sh\n# of `apk mkpkg ... --output FILE`, only that a file comes out\n"
                            'for word; do last=$word; done\necho made >"$last"\n')
            tool.chmod(0o755)

    def calls(self, goal=None):
        """[(goal, {variable: value})] in order."""
        path = self.root / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for call in map(json.loads, lines) if goal in (None, call[0])]

    def rootfs(self):
        """{path: (mode, content)} that FILES put into the image."""
        return json.loads((self.root / "rootfs.json").read_text())


# ---- the other side: what make runs ----

def fail(text):
    sys.exit(f"fake ImageBuilder: {text}")


def info(fake):
    print(f'Current Target: "{fake["target"]}"\nCurrent Revision: "r1"\nDefault Packages: base-files\n'
          "Available Profiles:\n")
    for profile in fake["profiles"]:
        print(f"{profile}:\n    Some Device\n    Packages: kmod-usb2\n    hasImageMetadata: 1")


def installed(root, fake, values):
    """Names of packages in an image."""
    if values.get("PROFILE", fake["profiles"][0]) not in fake["profiles"]:
        fail(f'Profile "{values["PROFILE"]}" does not exist!')
    words = values.get("PACKAGES", "").split()
    local = [p.name for p in (root / "packages").iterdir()]
    suffix = ".apk" if fake["apk"] else ".ipk"
    for word in words:
        name = word.lstrip("-")
        if name.startswith("doorstep") and not fake["in_feeds"] and not any(
                p.startswith("doorstep") and p.endswith(suffix) for p in local):
            fail(f"Unknown package '{name}'.")
        if name not in fake["sizes"]:
            fail(f"Unknown package '{name}'.")
    always = [name for name in fake["sizes"] if name not in ("doorstep", "luci")]
    return [n for n in always + [w for w in words if not w.startswith("-")] if "-" + n not in words]


def image(root, fake, values):
    installed(root, fake, values)
    out, files = Path(values["BIN_DIR"]), values.get("FILES")
    if not out.is_absolute() or not out.is_dir():
        fail(f"BIN_DIR {out}")
    if files is not None:
        folder = Path(files)
        if not folder.is_absolute() or not folder.is_dir():
            fail(f"FILES {files}")
        (root / "rootfs.json").write_text(json.dumps({
            "/" + str(p.relative_to(folder)): (oct(p.stat().st_mode & 0o777), p.read_text(errors="replace"))
            for p in folder.rglob("*") if p.is_file()}))
    if fake["image_bytes"] == 0:
        print("WARNING: Image file is too big", file=sys.stderr)
        return
    stem = f"openwrt-{fake['release']}-{values['EXTRA_IMAGE_NAME']}-{fake['target'].replace('/', '-')}-{values['PROFILE']}"
    for kind in ("squashfs-sysupgrade.bin", "squashfs-factory.bin"):
        (out / f"{stem}-{kind}").write_bytes(b"\0" * fake["image_bytes"])
    (out / f"{stem}.manifest").write_text("doorstep - 0.1.0-r1\n")
    (out / "profiles.json").write_text("{}")
    (out / "sha256sums").write_text("")


def main(root, goal):
    fake = json.loads((root / "fake.json").read_text())
    values = {name: os.environ[name] for name in os.environ["GIVEN"].split()}
    given = {word.split("=", 1)[0] for word in os.environ["OVERRIDES"].replace("\\ ", "_").split() if "=" in word}
    if given - set(VARIABLES):
        fail(f"no such variables: {given - set(VARIABLES)}")
    with open(root / "calls", "a", encoding="utf-8") as file:
        file.write(json.dumps([goal, values, sorted(p.name for p in (root / "packages").iterdir())]) + "\n")
    if goal == "info":
        info(fake)
    elif goal == "manifest":
        separator = " " if fake["apk"] else " - "
        print("\n".join(f"{name}{separator}1.0-r1" for name in installed(root, fake, values)))
    elif goal == "package_list":
        for name, size in fake["sizes"].items():
            print(f"{name} - 1.0-r1 - {size} - What it is for\n in two lines" if name != "ppp" else f"{name} - 1.0-r1")
    else:
        image(root, fake, values)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
