"""The first 48 bytes of an HDF5 file: what a killed writer leaves in them, and how to put it right.

A file that was open when its writer was killed has two traces in its superblock (version 3): the
status flags say that somebody writes, so nobody else may; and the end of the file may be recorded
short of what was written last, so that new data would be put over it.  Both are repaired here, as
the tool ``h5clear --status --increment`` does it, without HDF5: the library offers no public function.

Format: HDF5 File Format Specification 3.0, section II.A; checksum: Jenkins' lookup3.
"""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass
from typing import Any

__all__ = ["Mended", "Superblock", "repair"]

SIZE = 48
_ROOT = b"OHDR"
_UNDEFINED = 0xFFFFFFFFFFFFFFFF
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_LAYOUT = struct.Struct("<8sBBBBQQQQI")
_WORDS = struct.Struct("<III")
_MASK = 0xFFFFFFFF


def _rotate(x: int, k: int) -> int:
    """Rotate 32 bits to the left."""
    return ((x << k) | (x >> (32 - k))) & _MASK


def _lookup3(data: bytes) -> int:
    """Bob Jenkins' ``hashlittle`` with initial value 0, HDF5's checksum of metadata."""
    a: int = (0xDEADBEEF + len(data)) & _MASK
    b = c = a
    tail = len(data) % 12 or 12
    for at in range(0, len(data) - tail, 12):
        x, y, z = map(int, _WORDS.unpack_from(data, at))
        a, b, c = (a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK
        a = ((a - c) & _MASK) ^ _rotate(c, 4)
        c = (c + b) & _MASK
        b = ((b - a) & _MASK) ^ _rotate(a, 6)
        a = (a + c) & _MASK
        c = ((c - b) & _MASK) ^ _rotate(b, 8)
        b = (b + a) & _MASK
        a = ((a - c) & _MASK) ^ _rotate(c, 16)
        c = (c + b) & _MASK
        b = ((b - a) & _MASK) ^ _rotate(a, 19)
        a = (a + c) & _MASK
        c = ((c - b) & _MASK) ^ _rotate(b, 4)
        b = (b + a) & _MASK
    x, y, z = map(int, _WORDS.unpack(data[len(data) - tail :].ljust(12, b"\0")))
    a, b, c = (a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK
    c = ((c ^ b) - _rotate(b, 14)) & _MASK
    a = ((a ^ c) - _rotate(c, 11)) & _MASK
    b = ((b ^ a) - _rotate(a, 25)) & _MASK
    c = ((c ^ b) - _rotate(b, 16)) & _MASK
    a = ((a ^ c) - _rotate(c, 4)) & _MASK
    b = ((b ^ a) - _rotate(a, 14)) & _MASK
    c = ((c ^ b) - _rotate(b, 24)) & _MASK
    return c


@dataclass(frozen=True)
class Superblock:
    """What the first bytes of a checkpoint say.

    Attributes
    ----------
    flags
        0 for a file that was closed properly.
    end
        Recorded end of the file in bytes.
    whole
        Whether its checksum fits.
    """

    flags: int
    end: int
    whole: bool
    head: bytes

    @classmethod
    def rebuilt(cls, size: int) -> Superblock:
        """The one a file of ours of ``size`` bytes must have had: its root group follows at once."""
        text = _LAYOUT.pack(_SIGNATURE, 3, 8, 8, 0, 0, _UNDEFINED, size, SIZE, 0)[: SIZE - 4]
        return cls(0, size, True, text + struct.pack("<I", _lookup3(text)))

    @classmethod
    def parse(cls, head: bytes) -> Superblock | None:
        """Read it from the first bytes of a file; None if they are not those of one of our files."""
        if len(head) < SIZE:
            return None
        fields = _LAYOUT.unpack_from(head)
        signature, version, offsets, lengths, flags = fields[:5]
        if signature != _SIGNATURE or version != 3 or (offsets, lengths) != (8, 8):
            return None
        return cls(flags, fields[7], _lookup3(head[: SIZE - 4]) == fields[9], head[:SIZE])

    @classmethod
    def of(cls, path: str) -> Superblock | None:
        """Read it from a file."""
        with open(path, "rb") as file:
            return cls.parse(file.read(SIZE))

    def closed(self, size: int) -> bytes:
        """The superblock as it would be had the file of ``size`` bytes been closed properly."""
        fields = list(_LAYOUT.unpack(self.head))
        fields[4] = 0
        fields[7] = max(self.end, size)
        text = _LAYOUT.pack(*fields)[: SIZE - 4]
        return text + struct.pack("<I", _lookup3(text))


def repair(path: str) -> bool:
    """Make a file that its writer left open fit for writing again.

    Returns
    -------
    bool
        Whether there was anything to repair.
    """
    with open(path, "r+b", buffering=0) as file:
        block = Superblock.parse(file.read(SIZE))
        size = os.fstat(file.fileno()).st_size
        if block is None or not block.whole or (block.flags == 0 and block.end >= size):
            return False
        os.pwrite(file.fileno(), block.closed(size), 0)
        os.fsync(file.fileno())
    return True


class Mended(io.RawIOBase):
    """A file for reading as it would be had it been closed properly and not been cut short.

    The superblock is put right and missing bytes at the end are zeros; the file on disk stays as it is.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ValueError
        It is nothing like one of our files.
    """

    def __init__(self, path: str):
        super().__init__()
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed with this object)
        size = os.fstat(self._file.fileno()).st_size
        start = os.pread(self._file.fileno(), SIZE + len(_ROOT), 0)
        block = Superblock.parse(start)
        if block is None or not block.whole:
            if start[SIZE:] != _ROOT:
                self._file.close()
                raise ValueError("not an HDF5 file of this program")
            block = Superblock.rebuilt(size)
        self._head = block.closed(size)
        self._size = max(size, block.end)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = int(offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._at))
        data = os.pread(self._file.fileno(), wanted, self._at).ljust(wanted, b"\0")
        if self._at < SIZE:
            data = (self._head[self._at :] + data[SIZE - self._at :])[:wanted]
        view[:wanted] = data
        self._at += wanted
        return wanted

    def close(self) -> None:
        self._file.close()
        super().close()
