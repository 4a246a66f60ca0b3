"""A chip of flash memory in a virtual machine (mtdram), every byte of which we see and set from outside.

mtdram has its pages wherever the kernel gave it some. They are found by filling the chip with marks, twice
and in another order, and searching the memory for what changed from the one mark of a page to the other.
"""

import struct

import vm

BYTES = vm.SOURCE_BYTES
ERASE_BYTES = 64 * 1024
NUMBER = 2  # mtd0 and mtd1 are the regions of memory at fixed places
PAGE = 4096
MARK = struct.Struct("<8sQQ")
REGIONS = (f"phram=source,{vm.SOURCE_AT},{vm.SOURCE_BYTES},{ERASE_BYTES} "
           f"phram=told,{vm.TOLD_AT},{vm.TOLD_BYTES},{ERASE_BYTES}")


class Chip:
    def __init__(self, machine):
        self.memory = machine.memory
        machine.do(f"insmod /modules/phram.ko {REGIONS}")
        machine.do(f"insmod /modules/mtdram.ko total_size={BYTES >> 10} erase_size={ERASE_BYTES >> 10}")
        for module in ("ubi", "ubifs"):
            machine.do(f"insmod /modules/{module}.ko")
        self.pages = self.find_pages(machine)
        self.erase()

    def find_pages(self, machine):
        copy = f"dd if=/dev/mtd0 of=/dev/mtd{NUMBER} bs={ERASE_BYTES} 2>/dev/null"
        candidates = None
        for turn, again in enumerate(("true", f"{copy} count=1", f"{copy} skip=5 seek=5 count=1")):
            self.mark(turn)
            machine.do(f"{copy} && {again}")  # again: no buffer holds the same page each time
            found = self.marked(turn)
            candidates = found if candidates is None else candidates & found
        pages = sorted(candidates)
        if [number for number, _ in pages] != list(range(BYTES // PAGE)):
            raise vm.Stuck(f"{len(pages)} places found of the chip's {BYTES // PAGE} pages")
        return [at for _, at in pages]

    def mark(self, turn):
        for number in range(BYTES // PAGE):
            MARK.pack_into(self.memory, vm.SOURCE_AT + number * PAGE, b"doorstep", turn, number)

    def marked(self, turn):
        """{(number of a page, where it may be)}"""
        found = set()
        for at in range(0, vm.SOURCE_AT, PAGE):
            if self.memory[at:at + 8] == b"doorstep":
                _, mark, number = MARK.unpack_from(self.memory, at)
                if mark == turn:
                    found.add((number, at))
        return found

    def read(self):
        return b"".join(self.memory[at:at + PAGE] for at in self.pages)

    def write(self, content):
        for number, at in enumerate(self.pages):
            self.memory[at:at + PAGE] = content[number * PAGE:(number + 1) * PAGE]

    def erase(self):
        self.write(b"\xff" * BYTES)
