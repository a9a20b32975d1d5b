"""Text of an input file to a dictionary: JSON or YAML, whichever its content is.

Knows the two notations and nothing of what is written in them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from qcmb_mpi.errors import InputError

__all__ = ["parse", "read", "read_text"]


def read(path: Path) -> dict[str, Any]:
    """The file's content as a dictionary.

    Raises
    ------
    InputError
        If there is no such file or it cannot be read, is empty, or is neither JSON nor YAML; with
        line and column of the place where reading stopped.
    """
    return parse(read_text(path), path.suffix.lower())


def read_text(path: Path) -> str:
    """The file's text, without a byte order mark."""
    try:
        if path.is_dir():
            raise InputError("is a folder; give the input file in it")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError("there is no such file") from None
    except UnicodeDecodeError:
        raise InputError("is not a text file (expected JSON or YAML in UTF-8)") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not text.strip():
        raise InputError("is empty")
    return text


def parse(text: str, suffix: str = "") -> dict[str, Any]:
    """A dictionary from JSON or YAML text.

    Parameters
    ----------
    text
        Content of the file.
    suffix
        End of the file's name: it decides only how the error is worded where the text is neither.
    """
    if suffix == ".json" or (text.lstrip()[:1] in "{[" and suffix not in (".yaml", ".yml")):
        content = _json(text)
    else:
        content = _yaml(text)
    if not isinstance(content, dict):
        raise InputError(
            "is not an input file: expected JSON or YAML with named fields such as molecule and "
            "specification (an .xyz file becomes an input with `python -m qcmb_mpi convert`)"
        )
    return content


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise InputError(f"line {error.lineno}, column {error.colno}: broken JSON: {error.msg}") from None
    except RecursionError:
        raise InputError("broken JSON: nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dictionary whose fields were each given once: JSON would keep the last without a word."""
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InputError("is given twice in one group", key)
            seen.add(key)
    return values


def _yaml(text: str) -> Any:
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """Plain values only, each field once, ``1e-8`` a number."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            seen: set[Any] = set()
            for key_node, _ in node.value:
                if key_node.tag == "tag:yaml.org,2002:merge":
                    continue
                key = self.construct_object(key_node, deep=True)
                if isinstance(key, Hashable) and key in seen:
                    raise InputError(
                        f"line {key_node.start_mark.line + 1}: is given twice in one group", str(key)
                    )
                seen.add(str(key) if not isinstance(key, Hashable) else key)
            return super().construct_mapping(node, deep=deep)  # type: ignore[no-any-return]

    # YAML 1.1 takes a number without a point, such as 1e-8, for text
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
    )
    try:
        return yaml.load(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InputError(f"{place}broken YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise InputError(f"broken YAML: {error}") from None
