"""A result as the text of a file: JSON, YAML, or what is printed at the end of a run.

Knows no paths, and nothing of how a result was computed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qcmb_mpi.report.summary import result_text

__all__ = ["ENDINGS", "Form", "as_notation", "failure_text", "form_of_ending", "serialised"]

#: What the name of a result file ends with, by format.
ENDINGS = {"json": ".result.json", "yaml": ".result.yaml", "text": ".result.txt"}

_FORMATS = {".json": "json", ".yaml": "yaml", ".yml": "yaml", ".txt": "text"}


@dataclass(frozen=True)
class Form:
    """How a result is written.

    Attributes
    ----------
    format
        ``json``, ``yaml`` or ``text``.
    pretty
        With line breaks and indentation.
    timings
        With the times of the run.
    """

    format: str = "json"
    pretty: bool = True
    timings: bool = True


def form_of_ending(suffix: str) -> str | None:
    """The format that a file's name asks for, if it does."""
    return _FORMATS.get(suffix.lower())


def serialised(result: Any, form: Form) -> str:
    """The text of the file for a ``ManyBodyResult``."""
    if form.format == "text":
        return result_text(result, timings=form.timings)
    if form.format == "json" and form.timings and result.schema_version == 2:
        # in one go: by way of Python's floats, derivatives of many tasks take ten times the time and memory
        return str(result.model_dump_json(indent=1 if form.pretty else None))
    text = result.model_dump_json() if result.schema_version == 2 else result.json()
    content = json.loads(text)
    if not form.timings:
        content["provenance"] = {
            name: value
            for name, value in content["provenance"].items()
            if not name.endswith("_seconds") and name != "efficiency"
        }
    return as_notation(content, form)


def failure_text(content: Mapping[str, Any], form: Form) -> str:
    """The text of the file for a job that did not finish."""
    if form.format == "text":
        return str(content["error"]["error_message"])
    return as_notation(content, form)


def as_notation(content: Mapping[str, Any], form: Form) -> str:
    """A dictionary as JSON or YAML, without a line break at its end."""
    if form.format == "json":
        return json.dumps(content, indent=1) if form.pretty else json.dumps(content, separators=(",", ":"))
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the fast one needs a library
    flow = None if form.pretty else True
    text: str = yaml.dump(
        content, Dumper=dumper, sort_keys=False, allow_unicode=True, default_flow_style=flow
    )
    return text.rstrip("\n")
