"""The small JSON file beside a checkpoint from which ``status`` reads a live job.

It is replaced by rename, so that a reader on another machine sees one state or the next, never half.
What is in it is the caller's business.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["read_status", "status_path", "write_status"]


def status_path(path: str | os.PathLike[str]) -> Path:
    """Name of the status file of a checkpoint."""
    return Path(f"{os.fspath(path)}.status.json")


def write_status(path: str | os.PathLike[str], mapping: Mapping[str, Any]) -> bool:
    """Replace the status file of the checkpoint ``path``.

    Returns
    -------
    bool
        False where it could not be written: a job does not end because nobody can watch it.
    """
    target = status_path(path)
    # Only the holder of the checkpoint's lock writes here; what one that was killed has left is written over.
    temporary = f"{target}.new"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(dict(mapping), file)
        os.replace(temporary, target)
    except OSError:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        return False
    return True


def read_status(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What was last written for the checkpoint ``path``; None where there is nothing readable."""
    try:
        with open(status_path(path), encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
