"""The JSON Schema of experiments.yaml, for editors: as a user writes it, before `defaults` and `extends` are merged."""

from __future__ import annotations

from typing import Any

from shoestring_trainer.presets import PRESETS

from shoestring.merge import STAGE_DEFAULTS
from shoestring.request_parts import NAME
from shoestring.spec_parts import ExperimentSpec, FileSpec

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def spec_schema() -> dict[str, Any]:
    """Build the schema; every property carries its description where the model has one."""
    whole = FileSpec.model_json_schema()
    experiment = ExperimentSpec.model_json_schema()
    definitions = whole.pop("$defs", {}) | experiment.pop("$defs", {})
    definitions["Experiment"] = _as_written(experiment, definitions)
    whole["$defs"] = definitions
    properties = whole["properties"]
    properties["defaults"] = {
        "anyOf": [{"$ref": "#/$defs/Experiment"}, {"type": "null"}],
        "description": properties["defaults"]["description"],
    }
    properties["experiments"] = {
        "type": "object",
        "description": "name → experiment",
        "minProperties": 1,
        "propertyNames": {"pattern": NAME},
        "additionalProperties": {"anyOf": [{"$ref": "#/$defs/Experiment"}, {"type": "null"}]},
    }
    return {"$schema": _DIALECT, "title": "Shoestring experiments", **{k: v for k, v in whole.items() if k != "title"}}


def _as_written(experiment: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Nothing is required (it may be inherited); stage fields, presets, a prompts file, `extends` and `matrix` too."""
    model, stage = definitions["ModelConfig"], definitions["StageRequest"]
    model.pop("required", None)
    model["properties"] = {
        "preset": {"enum": sorted(PRESETS), "description": "a named shape; fields beside it replace its own"},
        **model["properties"],
    }
    for name in ("required",):
        experiment.pop(name, None)
        stage[name] = ["mask"]
    prompts = definitions["SamplesRequest"]["properties"]["prompts"]
    text = {"type": "string", "description": prompts.get("description", "")}
    definitions["SamplesRequest"]["properties"]["prompts"] = {"anyOf": [prompts, text]}
    definitions["SamplesRequest"].pop("required", None)
    extra = {
        "extends": {"type": "string", "description": "take every field of that experiment, then change some"},
        "matrix": {
            "type": "object",
            "description": "dotted path → list of values: one experiment per combination",
            "additionalProperties": {"type": "array", "minItems": 1},
        },
    }
    shared = {name: stage["properties"][name] for name in STAGE_DEFAULTS}
    experiment["properties"] = extra | experiment["properties"] | shared
    return experiment
