"""From pydantic's findings to words for an operator.

Rule of this file: a message never repeats a value, which may be a secret; only numbers that are out of range, and words
that were to be chosen from a list.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel

from popframe.suggestion import suggest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from popframe.config.line import KeyPath

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")

_WANTED_TYPES: Mapping[str, str] = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "float_type": "a number",
    "frozen_set_type": "a list",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_attributes_type": "a table",
    "model_type": "a table",
    "path_type": "a string",
    "set_type": "a list",
    "string_type": "a string",
    "tuple_type": "a list",
}
"""What was wanted, by pydantic's name of the error."""

_TOML_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number with a fraction"),
    (str, "a string"),
    (list, "a list"),
    (dict, "a table"),
    (datetime.date, "a date"),
    (datetime.time, "a time"),
)
"""What TOML's types are called; ``bool`` stands before ``int``, whose subclass it is."""


def dotted_key(path: KeyPath) -> str:
    """Write a path as TOML would: ``server.listen[0]``, ``plugin."my plugin".path``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if _BARE_KEY.match(part) else json.dumps(part, ensure_ascii=False)
            text += f".{name}" if text else name
    return text


def explain(error: ErrorDetails, model: type[BaseModel], given: object) -> str:
    """Say in words what is wrong with one value.

    Args:
        error: pydantic's finding, its ``loc`` relative to the model.
        model: What the table was validated against.
        given: The value that stands in the file, as TOML gave it.
    """
    kind, context = error["type"], error.get("ctx", {})
    table, name = _table_at(model, error["loc"][:-1]), str(error["loc"][-1]) if error["loc"] else ""
    match kind:
        case "extra_forbidden":
            return "unknown key" + suggest(name, table.model_fields if table else ())
        case "missing":
            field = table.model_fields.get(name) if table else None
            return "is missing" + (f": {field.description}" if field and field.description else "")
        case "value_error":
            text = str(context["error"])
        case "literal_error" | "enum":
            choices = re.findall(r"'([^']*)'", str(context["expected"])) or [str(context["expected"])]
            text = (f"{given!r} is not allowed" if isinstance(given, str) else "is not allowed") + suggest(
                str(given), choices, "allowed"
            )
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            text = f"{error['msg'].replace('Input should', 'must')}, not {given}"
        case _ if kind in _WANTED_TYPES:
            text = f"must be {_WANTED_TYPES[kind]}, not {_type_in_words(given)}"
        case _:
            text = re.sub(r"\A(Input|Value|Data|List|Tuple|String) should", "must", error["msg"])
    return " ".join(text.split())


def _type_in_words(value: object) -> str:
    return next((words for kind, words in _TOML_TYPES if isinstance(value, kind)), type(value).__name__)


def _table_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    """Return the model of a table within a model's table; None when that is not a table of fixed keys."""
    table: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int):
            continue
        field = table.model_fields.get(part) if table else None
        table = _model_in(field.annotation) if field else None
    return table


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Return the one model within an annotation such as ``Model | None`` or ``tuple[Model, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
