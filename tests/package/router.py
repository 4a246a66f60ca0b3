"""A router to run the package's scripts on: a root directory with busybox's shell and tools, the installed
package, and stand-ins for procd, uci and logger that write down what they are told.

What is real: the shell, the scripts, doorstep, users, owners and modes. What is not: procd, ujail, netifd, fw4, libuci.
APPLETS are the tools of a default OpenWrt; Debian's busybox has more, and its shell runs some of them without looking
for them, so test_feed.py sees to it that the scripts call no other ones.
"""

import os
import re
import shutil
import stat
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "..", ".."))
FEED = os.path.join(ROOT, "firmware", "openwrt")
PACKAGE = os.path.join(FEED, "doorstep")
STAND_IN = os.path.join(FEED, "stand-in")
APPLETS = """[ ash awk basename cat chgrp chmod chown clear cmp cp cut date dd df dirname echo egrep env expr false fgrep
 find grep gunzip gzip head hexdump id kill ln ls md5sum mkdir mktemp mount mv nc netstat passwd pgrep pidof ping
 printf ps pwd readlink rm rmdir sed seq sh sha256sum sleep sort sync tail tar tee test touch tr true uname uniq
 uptime vi wc which xargs yes zcat""".split()
USER = 40123  # doorstep's, on the router
UHTTPD = """
config uhttpd 'main'
	list listen_http '0.0.0.0:80'
	list listen_http '[::]:80'
	list listen_https '0.0.0.0:443'
	list listen_https '[::]:443'
	option redirect_https '1'
	option home '/www'
"""


def make(*words, **variables):
    """The package's Makefile, with the stand-in for OpenWrt's."""
    run = subprocess.run(["make", "-s", "--no-print-directory", "-C", PACKAGE, f"TOPDIR={STAND_IN}",
                          *[f"{name}={value}" for name, value in variables.items()], *words],
                         capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def libraries(program):
    """Files that the loader maps for it."""
    text = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(/\S+) \(0x", text)


class Done:
    def __init__(self, run):
        self.status, self.out, self.err = run.returncode, run.stdout, run.stderr

    def __repr__(self):
        return f"<exit status {self.status}: {self.out}{self.err}>"


class Router:
    def __init__(self, root, program):
        self.root = str(root)
        for name in ("bin", "sbin", "dev", "proc/net", "tmp/lock", "var", "etc/rc.d", "etc/config", "etc/ssl/acme",
                     "etc/ssl/certs", "lib/functions", "usr/bin", "usr/sbin", "overlay"):
            os.makedirs(self.path(name), exist_ok=True)
        os.makedirs(self.path("tmp/run"))
        os.symlink("/tmp/run", self.path("var/run"))
        os.chmod(self.root, 0o755)
        self.install_tools()
        self.install_libraries(program)
        prefix = self.path("tmp/built")
        os.makedirs(os.path.join(prefix, "usr/sbin"))
        shutil.copy(program, os.path.join(prefix, "usr/sbin/doorstep"))
        make("install", PKG_INSTALL_DIR=prefix, STAGE=self.root)
        shutil.rmtree(prefix)
        self.write("/etc/passwd", f"root:x:0:0:root:/root:/bin/ash\ndoorstep:x:{USER}:{USER}::/var/run/doorstep:/bin/false\n")
        self.write("/etc/group", f"root:x:0:\ndoorstep:x:{USER}:\n")
        self.write("/etc/config/uhttpd", UHTTPD, 0o600)
        self.write("/proc/mounts", "/dev/root /rom squashfs ro 0 0\noverlayfs:/overlay / overlay rw 0 0\n")
        self.write("/proc/net/tcp", "  sl  local_address rem_address   st\n")
        self.write("/etc/ssl/certs/ca-certificates.crt", "")

    def install_tools(self):
        shutil.copy("/usr/bin/busybox" if os.path.exists("/usr/bin/busybox") else "/bin/busybox", self.path("bin/busybox"))
        for name in APPLETS:
            os.symlink("busybox", self.path("bin", name))
        for name, device in (("null", (1, 3)), ("zero", (1, 5)), ("urandom", (1, 9)), ("random", (1, 8))):
            os.mknod(self.path("dev", name), 0o666 | stat.S_IFCHR, os.makedev(*device))
            os.chmod(self.path("dev", name), 0o666)
        for source, target in (("rc.common", "etc/rc.common"), ("functions.sh", "lib/functions.sh"),
                               ("procd.sh", "lib/functions/procd.sh"), ("uci", "sbin/uci"), ("logger", "usr/bin/logger"),
                               ("uhttpd.init", "etc/init.d/uhttpd")):
            os.makedirs(os.path.dirname(self.path(target)), exist_ok=True)
            shutil.copy(os.path.join(HERE, "router", source), self.path(target))

    def install_libraries(self, program):
        for path in libraries(program):
            target = self.root + path
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(os.path.realpath(path), target)

    def path(self, *parts):
        """Of a file as the router calls it; its /var/run is a link, which means another place outside."""
        path = os.path.join("/", *[part.lstrip("/") for part in parts])
        return self.root + re.sub("^/var/run/", "/tmp/run/", path)

    def write(self, path, text, mode=0o644):
        path = self.path(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.islink(path):
            os.remove(path)  # never through a link: all tools are one file
        with open(path, "w" if isinstance(text, str) else "wb") as out:
            out.write(text)
        os.chmod(path, mode)

    def read(self, path):
        with open(self.path(path), encoding="utf-8") as file:
            return file.read()

    def exists(self, path):
        return os.path.lexists(self.path(path))

    def names(self, path):
        return sorted(os.listdir(self.path(path)))

    def rights(self, path):
        """mode, owner and group, as "0640 root doorstep"."""
        st = os.lstat(self.path(path))
        name = {0: "root", USER: "doorstep"}
        return f"{stat.S_IMODE(st.st_mode):04o} {name.get(st.st_uid, st.st_uid)} {name.get(st.st_gid, st.st_gid)}"

    def argv(self, *words):
        return ["chroot", self.root, *words]

    @staticmethod
    def run_argv(argv, environment):
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment}
        return Done(subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60,
                                   stdin=subprocess.DEVNULL, check=False))

    def run(self, *words, **environment):
        return self.run_argv(self.argv(*words), environment)

    def run_as_user(self, *words, **environment):
        return self.run_argv(["chroot", f"--userspec={USER}:{USER}", "--groups=", self.root, *words], environment)

    def service(self, *words):
        """The init script; what procd was told of before is forgotten."""
        for name in ("/tmp/procd", "/tmp/log"):
            if self.exists(name):
                os.remove(self.path(name))
        return self.run("/etc/init.d/doorstep", *words)

    def calls(self, name=None):
        """What procd was told: lists of words, without the function's name if one is asked for."""
        if not self.exists("/tmp/procd"):
            return []
        lines = [line.split("\t") for line in self.read("/tmp/procd").splitlines()]
        return [words[1:] for words in lines if words[0] == name] if name else lines

    def params(self):
        return {words[0]: words[1:] for words in self.calls("procd_set_param")}

    def log(self):
        return self.read("/tmp/log") if self.exists("/tmp/log") else ""
