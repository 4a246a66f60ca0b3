"""The package as OpenWrt builds and installs it, and a router that it is installed on."""

import os
import shutil
import subprocess
import tempfile

import pytest

from router import ROOT, Router, make
from support.pki import Authority

# as OpenWrt's target.mk has them for a machine that needs none of its own
CFLAGS = "-Os -pipe -fno-caller-saves -fno-plt -fstack-protector -D_FORTIFY_SOURCE=1 -Werror=format-security"


@pytest.fixture(scope="session")
def built():
    """The tree that the Makefile prepares, built with the options that it and OpenWrt's cmake.mk give."""
    directory = os.path.join(ROOT, "build", "package")
    chosen = {"CONFIG_DOORSTEP_OUTBOUND": "y", "CONFIG_DOORSTEP_STORE": "y"}
    make("prepare", BUILD_DIR=directory, **chosen)
    tree = os.path.join(directory, "doorstep-0.1.0")
    options = make("cmake-options", BUILD_DIR=directory, **chosen).strip()
    deps = os.path.join(ROOT, "build", "deps", os.uname().machine)
    script = (f"cmake -G Ninja -S {tree} -B {tree}-build {options} -DCMAKE_C_FLAGS='{CFLAGS}' -DDOORSTEP_DEPS={deps} && "
              f"nice cmake --build {tree}-build && DESTDIR={directory}/install cmake --install {tree}-build")
    run = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    return os.path.join(directory, "install")


@pytest.fixture(scope="session")
def program(built):
    return os.path.join(built, "usr", "sbin", "doorstep")


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(str(tmp_path_factory.mktemp("pki")))


@pytest.fixture
def directory(built):
    """Not below /tmp, which may be in memory: a queue refuses to lie there."""
    path = tempfile.mkdtemp(dir=os.path.join(built, ".."), prefix="run-")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def router(directory, program):
    return Router(os.path.join(directory, "router"), program)
