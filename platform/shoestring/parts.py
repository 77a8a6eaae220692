"""The fields of an experiment, validated once however many experiments of a file write or inherit the same."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from shoestring.spec_parts import ExperimentSpec


class Parts:
    """Mappings and lists become models, equal ones the same model: to validate it within an experiment costs nothing,
    and what is counted of it later is found again by identity."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Any] = {}

    def of(self, values: dict[str, Any]) -> dict[str, Any]:
        """`values`, an experiment's, with models for what is valid by itself; what is not stays, for the whole
        experiment's validation to say what is wrong and where."""
        adapters = _adapters()
        return {
            name: self._model(name, value, adapters[name]) if name in adapters else value
            for name, value in values.items()
        }

    def _model(self, name: str, value: Any, adapter: TypeAdapter[Any]) -> Any:
        if not isinstance(value, dict | tuple):
            return value
        key = name, repr(value)  # unlike equality it tells 1 from 1.0 and true
        if key not in self._known:
            try:
                self._known[key] = adapter.validate_python(value, strict=True)
            except ValidationError:
                self._known[key] = value
        return self._known[key]


@cache
def _adapters() -> dict[str, TypeAdapter[Any]]:
    fields = ExperimentSpec.model_fields.items()
    adapted: dict[str, Any] = {name: Annotated[field.annotation, field] for name, field in fields}
    return {name: TypeAdapter(one) for name, one in adapted.items()}
