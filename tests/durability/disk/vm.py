"""A virtual machine with Debian's kernel and nothing else, that does what it is told.

It starts in seconds, by emulation where the host has no virtualisation. Its memory is a file of ours: what
lies at DISK_AT there is, for its kernel, a disk of persistent memory, and we may write it before it looks.
"""

import glob
import lzma
import mmap
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MIB = 1 << 20
MEMORY = 256 * MIB  # the firmware's tables are at its end
DISK_AT, DISK_BYTES = 208 * MIB, 24 * MIB      # /dev/pmem0
SOURCE_AT, SOURCE_BYTES = 232 * MIB, 8 * MIB  # kept from the kernel; see chip.py
TOLD_AT, TOLD_BYTES = 240 * MIB, 4 * MIB       # ditto

MODULES = ("virtio_pci", "virtio_console", "virtio_scsi", "sd_mod", "crc32c_generic", "ext4", "nd_e820",
           "nd_pmem", "phram", "mtdram", "jffs2", "nandsim", "lzo", "lzo_rle", "deflate", "zstd", "ubi", "ubifs")
LATER = ("phram", "mtdram", "nandsim", "ubi")  # loaded with parameters by whom needs them, and what needs them
PROGRAMS = ("ubiattach", "ubidetach", "ubimkvol", "flash_erase", "nandwrite")
PATIENCE = 240  # seconds for one command: an emulated machine on a busy host is slow


class Stuck(Exception):
    pass


# --- what it starts from ---

def module_files(kernel):
    found = {}
    for folder, _, names in os.walk(os.path.join(kernel, "lib/modules")):
        for name in names:
            if name.endswith((".ko", ".ko.xz")):
                found[name.split(".")[0].replace("-", "_")] = os.path.join(folder, name)
    return found


def module(path):
    with (lzma.open if path.endswith(".xz") else open)(path, "rb") as file:
        return file.read()


def built_in(kernel):
    names = set()
    for path in glob.glob(os.path.join(kernel, "lib/modules/*/modules.builtin")):
        with open(path, encoding="utf-8") as file:
            names |= {os.path.basename(line.strip())[:-3].replace("-", "_") for line in file}
    return names


def needs(path):
    data = module(path)
    at = data.find(b"\0depends=") + 9
    text = data[at:data.index(b"\0", at)].decode() if at > 8 else ""
    return [n.replace("-", "_") for n in text.split(",") if n]


def modules_in_order(kernel):
    """[(name, path)], each behind those that it needs."""
    files, order, inside = module_files(kernel), {}, built_in(kernel)

    def add(name):
        if name in order or name in inside:
            return
        if name not in files:
            raise Stuck(f"{kernel} lacks the module {name}: remove it, scripts/setup durability makes it anew")
        for needed in needs(files[name]):
            add(needed)
        order[name] = files[name]
    for name in MODULES:
        add(name)
    return list(order.items())


def libraries(program):
    """What the loader maps for it, the loader too."""
    out = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return [w for line in out.splitlines() for w in line.split() if w.startswith("/")]


class Archive:
    """cpio(5), "newc": what the kernel unpacks before it starts /init."""

    def __init__(self):
        self.parts, self.names = [], set()

    def add(self, name, mode, content=b""):
        self.folders(name)
        self.names.add(name)
        head = b"070701" + b"".join(b"%08x" % n for n in (
            len(self.names), mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0))
        for part in (head + name.encode() + b"\0", content):
            self.parts.append(part + bytes(-len(part) % 4))

    def folders(self, name):
        folder = os.path.dirname(name)
        if folder and folder not in self.names:
            self.add(folder, stat.S_IFDIR | 0o755)

    def file(self, path, name=None):
        with open(path, "rb") as file:
            self.add((name or path).lstrip("/"), stat.S_IFREG | 0o755, file.read())

    def program(self, path, name=None):
        self.file(path, name)
        for library in libraries(path):
            if library.lstrip("/") not in self.names:
                self.file(library)

    def write(self, path):
        self.add("TRAILER!!!", 0)
        with open(path, "wb") as file:
            file.write(b"".join(self.parts))


def build_archive(kernel, path, programs, files):
    """programs: {name in the machine: path here}, put into /bin; files: ditto, anywhere."""
    archive = Archive()
    for folder in ("proc", "sys", "dev", "tmp", "m"):
        archive.add(folder, stat.S_IFDIR | 0o755)
    archive.file(os.path.join(HERE, "init"), "init")
    archive.program("/bin/busybox", "bin/busybox")
    for program in PROGRAMS:
        archive.program("/usr/sbin/" + program, "sbin/" + program)
    for name, program in programs.items():
        archive.program(program, "bin/" + name)
    for name, file in files.items():
        archive.file(file, name)
    order, at_start, late = modules_in_order(kernel), [], set(LATER)
    for name, file in order:
        archive.add(f"modules/{name}.ko", stat.S_IFREG | 0o644, module(file))
        if name in late or late & set(needs(file)):
            late.add(name)
        else:
            at_start.append(name)
    archive.add("modules/order", stat.S_IFREG | 0o644, "".join(f"{n}\n" for n in at_start).encode())
    archive.write(path)


# --- the machine ---

def image(number, path, log):
    """A disk, and where all that is written to it is logged. No flush reaches the host's own disk."""
    name = f"disk{number}"
    host = "cache.no-flush=on,discard=unmap"
    return ["-blockdev", f"driver=file,node-name={name}-file,filename={path},{host}",
            "-blockdev", f"driver=file,node-name={name}-log,filename={log},{host}",
            "-blockdev", f"driver=blklogwrites,node-name={name},file={name}-file,log={name}-log,"
                         "log-sector-size=512,log-super-update-interval=1",
            "-device", f"scsi-hd,drive={name},scsi-id={number},write-cache=on"]


class Machine:
    """images: [(disk, log)]. A disk is told one command at a time: what it is sent after a flush was
    sent when everything before that had been answered."""

    def __init__(self, kernel, archive, where, images=()):
        self.where = where
        os.makedirs(where, exist_ok=True)
        self.console = os.path.join(where, "console")
        memory = os.path.join(where, "memory")
        with open(memory, "wb+") as file:
            file.truncate(MEMORY)
            self.memory = mmap.mmap(file.fileno(), MEMORY)
        regions = (f"memmap={DISK_BYTES >> 20}M!{DISK_AT >> 20}M "
                   f"memmap={(TOLD_AT + TOLD_BYTES - SOURCE_AT) >> 20}M${SOURCE_AT >> 20}M")
        ours, theirs = socket.socketpair()
        command = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "pc,memory-backend=ram", "-accel", os.environ.get("DOORSTEP_VM_ACCEL", "tcg"), "-smp", "1",
            "-m", f"{MEMORY >> 20}M",
            "-object", f"memory-backend-file,id=ram,size={MEMORY},mem-path={memory},share=on",
            "-kernel", os.path.join(kernel, "vmlinuz"), "-initrd", archive,
            "-append", f"console=ttyS0 quiet panic=-1 oops=panic nokaslr {regions}",
            "-serial", f"file:{self.console}", "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=port,fd={theirs.fileno()}", "-device", "virtserialport,chardev=port",
            "-device", "virtio-scsi-pci,cmd_per_lun=1",
        ]
        for number, (disk, log) in enumerate(images):
            command += image(number, disk, log)
        with open(os.path.join(where, "qemu"), "w", encoding="utf-8") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            pass_fds=(theirs.fileno(),))
        theirs.close()
        self.port, self.rest = ours, b""
        self.answer()

    def line(self):
        until = time.monotonic() + PATIENCE
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.port], [], [], max(0, until - time.monotonic()))
            chunk = self.port.recv(65536) if ready else b""
            if not chunk:
                raise Stuck(f"the virtual machine says nothing any more: {self.last_words()}")
            self.rest += chunk
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode(errors="replace")

    def last_words(self):
        words = []
        for path in (self.console, os.path.join(self.where, "qemu")):
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    words += file.read().splitlines()[-8:]
        return " / ".join(words)

    def answer(self):
        lines = []
        while True:
            line = self.line()
            if line.startswith("= "):
                return lines, int(line[2:])
            lines.append(line)

    def ask(self, command):
        """The lines of its output, and the exit status."""
        self.port.sendall(command.replace("\n", " ").encode() + b"\n")
        return self.answer()

    def do(self, command):
        """ditto, of something that must work."""
        lines, status = self.ask(command)
        if status != 0:
            raise Stuck(f"'{command}' failed with {status} in the virtual machine: {' / '.join(lines)}")
        return lines

    def disk(self, number):
        """The device of an image."""
        at = f"/sys/bus/scsi/devices/0:0:{number}:0/block"
        name, = self.do(f"n=0; until [ -e {at} ] || [ $n = 300 ]; do n=$((n+1)); usleep 100000; done; ls {at}")
        if self.do(f"cat /sys/block/{name}/device/queue_depth") != ["1"]:
            raise Stuck("the disk takes more than one command at a time")
        return "/dev/" + name

    # its time stands still

    def stop(self):
        os.kill(self.process.pid, signal.SIGSTOP)
        tasks = f"/proc/{self.process.pid}/task"
        for task in os.listdir(tasks):
            while not self.is_stopped(f"{tasks}/{task}/stat"):
                time.sleep(0.0002)

    @staticmethod
    def is_stopped(path):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read().rsplit(") ", 1)[1][0] in "TtZX"
        except FileNotFoundError:
            return True

    def go_on(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def cut(self):
        """As pulling the plug: nobody is told."""
        self.process.kill()
        self.process.wait()
        self.port.close()
        self.memory.close()
        shutil.rmtree(self.where, ignore_errors=True)
