"""The tables in docs/input.md: every example is taken, every default is what leaving the field out means."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "docs"))

from fields import EMPTY, FORMS
from from_inputs import load, with_field

CASES = [
    pytest.param(form, section, name, field, id=f"{form}.{section.title}.{name}")
    for form, (_, sections) in FORMS.items()
    for section in sections
    for name, field in section.fields.items()
]


#: Without the fields of which the smallest input is an example.
EXAMPLES = [case for case in CASES if case.values[3].example is not EMPTY]
DEFAULTS = [case for case in CASES if case.values[3].value is not EMPTY]


@pytest.mark.parametrize(("form", "section", "name", "field"), EXAMPLES)
def test_an_example_of_each_field_is_taken(form: str, section: Any, name: str, field: Any) -> None:
    load(with_field(FORMS[form][0], section, name, field.example, field.version))


@pytest.mark.parametrize(("form", "section", "name", "field"), DEFAULTS)
def test_a_default_is_what_leaving_the_field_out_means(
    form: str, section: Any, name: str, field: Any
) -> None:
    smallest = FORMS[form][0]
    given = load(with_field(smallest, section, name, field.value, field.version))
    left_out = load(with_field(smallest, section, name, EMPTY, field.version))
    for part in ("cluster", "levels", "driver", "expansion", "keep_records"):
        assert repr(getattr(given, part)) == repr(getattr(left_out, part))
