"""Reads what a disk was sent, and makes what it may hold after a power cut.

The log is that of QEMU's driver blklogwrites (the format of the kernel's dm-log-writes): a superblock, and for
each command a sector with where, how much and what, then the data. The disk that we assume has a
volatile cache of which it owes nothing until it is told to flush: of the writes since then any may be there, later
ones without earlier ones, and of each any of its sectors of 512 bytes. What was written with FUA is there.

One write is never torn: that of ext4's superblock, 1024 bytes with a checksum that is looked at before its journal is
replayed. With half of it no ext4 can be mounted, whatever lies on it, until somebody repairs it.
"""

import struct

MAGIC = 0x6A736677736872
HEAD = struct.Struct("<QQQI")
ENTRY = struct.Struct("<QQQQ")
SECTOR = 512
SUPERBLOCK_END = 2048
FLUSH, FUA, DISCARD = 1, 2, 4
KEEPS = (0.0, 1.0, 0.5, 0.85, 0.15)  # how much of what was not flushed is there


def entries(path):
    """(offset, flags, bytes) in the order in which the disk was told."""
    with open(path, "rb") as file:
        magic, version, count, size = HEAD.unpack(file.read(HEAD.size))
        if magic != MAGIC or version != 1 or size != SECTOR:
            raise ValueError(f"{path} is not a log of writes")
        file.seek(SECTOR)
        for _ in range(count):
            sector, sectors, flags, _ = ENTRY.unpack(file.read(SECTOR)[:ENTRY.size])
            length = 0 if flags & DISCARD else sectors * SECTOR
            data = file.read(length)
            if len(data) != length:
                raise ValueError(f"{path} ends within an entry")
            yield sector * SECTOR, flags, data


class Disk:
    """A range of the disk, from what it held when the log began."""

    def __init__(self, content, start):
        self.content, self.start = content, start
        self.pending = []  # not flushed: (serial, offset, bytes, is certain)
        self.serial = self.flushes = 0

    def holds(self, offset):
        return self.start <= offset < self.start + len(self.content)

    def command(self, offset, flags, data):
        if flags & FLUSH:
            self.flush()
        if flags & DISCARD or not data or not self.holds(offset):
            return
        self.serial += 1
        self.pending.append((self.serial, offset - self.start, data, bool(flags & FUA)))

    def flush(self):
        for _, offset, data, _ in self.pending:
            self.content[offset:offset + len(data)] = data
        self.pending = []
        self.flushes += 1

    def state(self, chance, keep):
        """(what tells it from others, its changes to what is flushed: [(offset, bytes)])"""
        signature, changes = [self.flushes], []
        for serial, offset, data, is_certain in self.pending:
            if is_certain:
                changes.append((offset, data))
            elif chance.random() >= keep:
                continue
            elif 0 < keep < 1 and len(data) > SECTOR and chance.random() < 0.4:
                kept = [at for at in range(0, len(data), SECTOR)
                        if offset + at < SUPERBLOCK_END or chance.random() < 0.5]
                changes += [(offset + at, data[at:at + SECTOR]) for at in kept]
                signature.append((serial, tuple(kept)))
            else:
                changes.append((offset, data))
                signature.append(serial)
        return hash(tuple(signature)), changes
