"""Damage to checkpoints: files cut short and bits turned over; and a quicker look at them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from qcmb_mpi.store import salvage

STRUCTURE = 40_000  # bytes at the beginning in which most of a small file's structure is


def damage(path: Path, random: np.random.Generator) -> str:
    """Cut a file or turn bits over; half of the flips hit the structure, which is a small part of it."""
    size = path.stat().st_size
    kind = random.integers(4)
    if kind == 0:
        os.truncate(path, int(random.integers(size)))
        return "cut"
    content = bytearray(path.read_bytes())
    limit = min(size, STRUCTURE) if kind == 1 else size
    for _ in range(int(random.choice([1, 1, 1, 8, 200]))):
        content[int(random.integers(limit))] ^= 1 << int(random.integers(8))
    path.write_bytes(content)
    return "flip"


def ask_forked(task: str, path: Path, *target: Path) -> salvage.Finding:
    """In the place of ``salvage._ask_child``: a child that is forked, for many rounds."""
    end, answer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(answer, 1)
        sys.argv = ["-c", "20", task, str(path), *map(str, target)]
        sys.stdout = os.fdopen(1, "w", closefd=False)
        try:
            salvage.main()
        finally:
            os._exit(1)
    os.close(answer)
    with open(end) as file:
        text = file.read()
    _, status = os.waitpid(child, 0)
    if not os.WIFEXITED(status):
        return salvage.Finding("damaged", "crashes")
    return salvage.Finding(**json.loads(text))
