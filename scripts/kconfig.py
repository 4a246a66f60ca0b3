#!/usr/bin/python3
"""Turn Kconfig files into a header and a complete configuration.

usage: kconfig.py OUTPUT_DIR FILE...
       kconfig.py default

Reads Kconfig and the files in order (later ones override) and writes
OUTPUT_DIR/config.h and OUTPUT_DIR/config. Unknown symbols, values out of range
and unmet dependencies are errors. Exit 3: kconfiglib is not installed.

The second form prints the configuration that Kconfig alone gives, the content
of boards/classes/default.config.
"""

import os
import sys
import tempfile

try:
    import kconfiglib
except ImportError:
    sys.exit(3)


def asked_for(path):
    """What the file asks for: {symbol: value}."""
    wanted = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.strip()
            if line.startswith("# CONFIG_") and line.endswith(" is not set"):
                wanted[line[len("# CONFIG_"):-len(" is not set")]] = "n"
            elif line.startswith("CONFIG_"):
                name, value = line[len("CONFIG_"):].split("=", 1)
                wanted[name] = value.strip('"')
    return wanted


def main(out, files):
    os.environ["KCONFIG_WARN_UNDEF_ASSIGN"] = "y"
    os.environ["KCONFIG_CONFIG_HEADER"] = ""
    kconf = kconfiglib.Kconfig("Kconfig", warn_to_stderr=False)
    kconf.warn_assign_override = False
    kconf.warn_assign_redun = False
    wanted = {}
    for path in files:
        kconf.load_config(path, replace=False)
        wanted.update(asked_for(path))
    problems = list(kconf.warnings)
    for name, value in wanted.items():
        symbol = kconf.syms.get(name)
        if symbol and symbol.str_value != value:
            problems.append(f"{name}: asked for {value}, got {symbol.str_value}")
    if problems:
        sys.exit("\n".join(problems))
    os.makedirs(out, exist_ok=True)
    kconf.write_autoconf(os.path.join(out, "config.h"), header="")
    kconf.write_config(os.path.join(out, "config"), header="", save_old=False)


def default():
    print("# The complete default configuration; machines without kconfiglib build with it.")
    print("# Written by: scripts/kconfig.py default")
    with tempfile.TemporaryDirectory() as folder:
        main(folder, [])
        with open(os.path.join(folder, "config"), encoding="utf-8") as file:
            print(file.read(), end="")


if __name__ == "__main__":
    if sys.argv[1:] == ["default"]:
        sys.exit(default())
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
