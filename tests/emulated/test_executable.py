"""The static executable for another machine: what is in it, and what must not be.

EXECUTABLE is doorstep, stripped, with doorstep.debug beside it, in a folder build/cross/MACHINE/...;
EMULATOR runs it here.
"""

import os
import re
import subprocess
from pathlib import Path

EXECUTABLE = Path(os.environ["EXECUTABLE"])
EMULATOR = os.environ["EMULATOR"].split()
MACHINE = os.environ["MACHINE"]
COMPILER = EXECUTABLE.parents[1] / "cc"
MIPS = MACHINE in ("mips", "mipsel")

# of coprocessor 1, which OpenWrt's kernels for these machines do not emulate
FLOAT = re.compile(r"\t(m[tf]h?c1|c[tf]c1|[ls][dw]x?c1|bc1\w+|\w+\.(s|d|ps|w\.[sd]|l\.[sd]))\s")


def output(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def test_size():
    assert EXECUTABLE.stat().st_size < 1_500_000


def test_stands_alone():
    segments = output("llvm-readelf", "-l", EXECUTABLE)
    assert "INTERP" not in segments
    assert "NEEDED" not in output("llvm-readelf", "-d", EXECUTABLE)


def test_is_hardened():
    segments = output("llvm-readelf", "-lh", EXECUTABLE)
    assert re.search(r"Type:\s+DYN", segments)  # position independent
    assert "GNU_RELRO" in segments
    assert re.search(r"GNU_STACK .* RW ", segments)
    assert not re.search(r"LOAD .* RWE ", segments)
    assert re.search(r"T __stack_chk_fail$", output("llvm-nm", f"{EXECUTABLE}.debug"), re.M | re.I)


def test_no_atomics_of_64_bits():
    """32-bit MIPS has none; the compiler's library would do them with locks."""
    names = output("llvm-nm", f"{EXECUTABLE}.debug")
    assert "main" in names
    assert not re.search(r"__(atomic|sync)_\w+_8$", names, re.M)


def test_runs():
    assert output(*EMULATOR, EXECUTABLE, "--version").startswith("doorstep ")


if MIPS:
    def test_soft_float():
        assert "Soft float" in output("readelf", "-A", EXECUTABLE)
        assert "mips32r2" in output("readelf", "-h", EXECUTABLE)

    def disassembly(path):
        return output("llvm-objdump", "-d", "--no-show-raw-insn", "--mcpu=mips32r2", path)

    def test_no_float_instructions(tmp_path):
        code = disassembly(EXECUTABLE)
        assert code.count("\n") > 100_000
        assert not FLOAT.search(code)
        # and the pattern would find them
        source = tmp_path / "f.c"
        source.write_text('__asm__(".set hardfloat\\n mul.d $f0, $f2, $f4\\n");\n')
        output(COMPILER, "-c", source, "-o", tmp_path / "f.o")
        assert FLOAT.search(disassembly(tmp_path / "f.o"))

    def test_emulation_takes_no_unaligned_access(tmp_path):
        """So the tests that run emulated show that there are none in our code."""
        source = tmp_path / "u.c"
        source.write_text("static _Alignas(8) char bytes[16];\n"
                          "int main(int n, char **v) { (void)v; return *(volatile int *)(bytes + n); }\n")
        output(COMPILER, "-c", source, "-o", tmp_path / "u.o")
        output(COMPILER, tmp_path / "u.o", "-o", tmp_path / "u")
        run = subprocess.run([*EMULATOR, tmp_path / "u"], capture_output=True, check=False, cwd=tmp_path)
        assert run.returncode == -7  # SIGBUS
        run = subprocess.run([*EMULATOR, tmp_path / "u", "2", "3", "4"], capture_output=True, check=False)
        assert run.returncode == 0
