"""Files are laid out as .clang-format says; shell scripts pass shellcheck."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, check=True,
                         capture_output=True, text=True).stdout
    return [name for name in out.split("\0") if name and (ROOT / name).exists()]


def test_layout():
    version = subprocess.run(["clang-format", "--version"], check=True, capture_output=True,
                             text=True).stdout
    if "version 14." not in version:
        pytest.skip("another clang-format lays out differently: " + version.strip())
    run = subprocess.run(["scripts/format", "--check"], cwd=ROOT, capture_output=True, text=True,
                         check=False)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr


def shell_scripts():
    for name in tracked():
        path = ROOT / name
        if path.suffix == ".sh" or path.is_file() and path.read_bytes()[:40].split(b"\n")[0] in (
                b"#!/bin/sh", b"#!/usr/bin/env bash", b"#!/bin/bash"):
            yield name


def test_shellcheck():
    scripts = list(shell_scripts())
    assert "scripts/test" in scripts
    run = subprocess.run(["shellcheck", "-x", "-P", "SCRIPTDIR", *scripts], cwd=ROOT,
                         capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
