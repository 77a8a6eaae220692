"""`defaults`, `extends`, `matrix` and presets, applied to nodes: every value keeps the place where it was written."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from functools import lru_cache

from shoestring_trainer.presets import PRESETS

from shoestring.errors import Fault
from shoestring.faults import at, did_you_mean, enough
from shoestring.request_parts import CADENCES, UNTIL
from shoestring.yaml_source import MAX_DEPTH, Node, kind_of, shown

MAX_RUNS = 1000
MAX_EXTENDS = 16
# Writing one of these takes back the others that were inherited.
ONE_OF = (UNTIL, CADENCES, ("seed", "seeds"))
# An experiment may write these; a stage without its own takes them.
STAGE_DEFAULTS = ("lr", "warmup_steps", "cosine_to", "grad_clip", "noise")
NOT_INHERITED = ("extends", "matrix")


def overlay(under: Node | None, over: Node) -> Node:
    """`over` on top of `under`: mappings merge, everything else replaces; another `kind` replaces too."""
    if under is None or not isinstance(under.value, dict) or not isinstance(over.value, dict):
        return over
    kind = over.get("kind")
    if kind is not None and kind.value != getattr(under.get("kind"), "value", None):
        return over
    taken_back = {name for group in ONE_OF if any(g in over.value for g in group) for name in group}
    merged = {key: child for key, child in under.value.items() if key not in taken_back}
    merged |= {key: overlay(merged.get(key), child) for key, child in over.value.items()}
    return over.holding(merged)


class Family:
    """The experiments of one file, each merged with its parents and the defaults; faults are collected."""

    def __init__(self, file: str, root: Node, faults: list[Fault]) -> None:
        self.file, self.faults = file, faults
        self.defaults = root.get("defaults")
        self.experiments = root.get("experiments")

    def members(self) -> Iterator[tuple[str, Node]]:
        """(name, merged node) of every experiment and matrix point, as far as there are no more than are allowed."""
        assert self.experiments is not None
        counts = [_n_points(node.get("matrix")) for node in self.experiments.value.values()]
        if max(counts, default=0) <= MAX_RUNS < sum(counts):
            what = f"{sum(counts)} combinations in all; at most {MAX_RUNS}"
            self._refuse(self.experiments, "too_many_runs", what, "split the file, or use a sweep")
            return
        for name, node in self.experiments.value.items():
            if enough(self.faults):
                return
            if node.value is None:  # `dense:` alone takes all from the defaults
                node = node.holding({})
            if not isinstance(node.value, dict):
                what = f"an experiment is a mapping, not {kind_of(node.value)}"
                self.faults.append(at(self.file, node, "wrong_type", what))
                continue
            merged = self._with_parents(name, node, ())
            if merged is not None:
                merged = overlay(self.defaults, merged)
                yield from self._matrix(name, merged, node.get("matrix"))

    def _with_parents(self, name: str, node: Node, below: tuple[str, ...]) -> Node | None:
        own = node.holding({k: v for k, v in node.value.items() if k not in NOT_INHERITED})
        parent = node.get("extends")
        if parent is None or parent.value is None:
            return own
        assert self.experiments is not None
        if parent.value in (*below, name):
            chain = " → ".join((*below, name, parent.value))
            self._refuse(parent, "extends_cycle", f"experiments extend each other: {chain}", "break the circle")
            return None
        if not isinstance(parent.value, str) or parent.value not in self.experiments.value:
            hint = did_you_mean(str(parent.value), self.experiments.value)
            self._refuse(parent, "unknown_experiment", f"no experiment is called {shown(parent.value)}", hint)
            return None
        if len(below) >= MAX_EXTENDS:
            self._refuse(parent, "too_deep", f"a chain of more than {MAX_EXTENDS} extends", "shorten it")
            return None
        above = self.experiments.value[parent.value]
        if not isinstance(above.value, dict):
            return own
        merged = self._with_parents(parent.value, above, (*below, name))
        return merged and overlay(merged, own)

    def _matrix(self, name: str, node: Node, matrix: Node | None) -> Iterator[tuple[str, Node]]:
        if matrix is None:
            yield name, node
            return
        axes = matrix.value if isinstance(matrix.value, dict) else {}
        bad = [axis for axis in axes.values() if not isinstance(axis.value, list) or not axis.value]
        if bad or not axes:
            what = "a matrix maps dotted paths to lists of values"
            self._refuse(bad[0] if bad else matrix, "bad_matrix", what, "model.experts.count: [1, 4]")
            return
        if (n_points := _n_points(matrix)) > MAX_RUNS:
            what = f"{n_points} combinations; at most {MAX_RUNS}"
            self._refuse(matrix, "too_many_runs", what, "use a sweep for a large search")
            return
        deep = [path for path in axes if path.count(".") >= MAX_DEPTH]
        if deep:
            what = f"{shown(deep[0])} leads deeper than {MAX_DEPTH} levels"
            self._refuse(axes[deep[0]], "too_deep", what, "name a field of an experiment")
            return
        short = {path: path.rsplit(".", 1)[-1] for path in axes}
        if len(set(short.values())) < len(axes):
            short = {path: path for path in axes}
        for values in itertools.product(*(axis.value for axis in axes.values())):
            point = node
            for path, value in zip(axes, values, strict=True):
                point = self._put(point, path.split("."), value, axes[path])
            suffix = ".".join(f"{short[p]}-{_slug(v)}" for p, v in zip(axes, values, strict=True))
            yield f"{name}.{suffix}"[:64], point

    def _put(self, node: Node, path: list[str], value: Node, axis: Node) -> Node:
        """A copy of `node` with `value` at `path`; mappings are made where there is none."""
        part, rest = path[0], path[1:]
        if isinstance(node.value, list):
            if not part.isdecimal() or int(part) >= len(node.value):
                self._refuse(axis, "unknown_field", f"there is no entry {part} in {node.path}", "entries count from 0")
                return node
            items = list(node.value)
            items[int(part)] = self._put(items[int(part)], rest, value, axis) if rest else value
            return node.holding(items)
        children = dict(node.value) if isinstance(node.value, dict) else {}
        below = children.get(part) or axis.holding({})
        children[part] = self._put(below, rest, value, axis) if rest else value
        return node.holding(children)

    def _refuse(self, node: Node, code: str, message: str, hint: str) -> None:
        self.faults.append(at(self.file, node, code, message, hint))


def _n_points(matrix: Node | None) -> int:
    """How many combinations a matrix asks for; 1 without one, or with one that is none."""
    axes = matrix.value.values() if matrix is not None and isinstance(matrix.value, dict) else ()
    return math.prod(len(axis.value) for axis in axes if isinstance(axis.value, list))


# Trained where an experiment names no model: what two cores learn most with (`benchmarks/quality.py`, `docs/log.md`).
USUAL = {
    "model": {"preset": "hourglass"},
    "objective": {"kind": "edm", "sigma_data": 1.0},
    "stages": [{"mask": {"kind": "none"}}],
    "lr": 2e-3, "warmup_steps": 20, "cosine_to": 0.02, "grad_clip": 1.0,
    "noise": {"p_mean": 0.0, "p_std": 1.0, "spread": True},
    "batch_size": 16, "caption_dropout": 0.1, "ema_decay": 0.998,
}  # fmt: skip


def with_usual(node: Node) -> Node:
    """An experiment without `model` over the usual recipe; one that names a model says the rest itself."""
    return node if node.get("model") else overlay(node_of(USUAL, node), node)


def with_preset(file: str, node: Node, faults: list[Fault]) -> Node:
    """Replace `model.preset` by the preset's fields, under those that are written beside it."""
    model = node.get("model")
    preset = model.get("preset") if model else None
    if model is None or preset is None:
        return node
    if not isinstance(preset.value, str) or preset.value not in PRESETS:
        what = f"no preset is called {shown(preset.value)}"
        faults.append(at(file, preset, "unknown_preset", what, did_you_mean(str(preset.value), PRESETS)))
        fields = node_of(next(iter(PRESETS.values())).model_dump(), preset)
    else:
        fields = _preset(preset)
    written = model.holding({k: v for k, v in model.value.items() if k != "preset"})
    return node.holding(node.value | {"model": overlay(fields, written)})


@lru_cache(maxsize=1024)
def _preset(name: Node) -> Node:
    """The fields of the preset that a node names, standing where it stands."""
    return node_of(PRESETS[name.value].model_dump(), name)


def with_stage_defaults(node: Node) -> Node:
    """Give every stage what the experiment says for all its stages."""
    shared = {key: node.value[key] for key in STAGE_DEFAULTS if key in node.value}
    rest = {key: child for key, child in node.value.items() if key not in STAGE_DEFAULTS}
    stages = node.get("stages")
    if stages is not None and isinstance(stages.value, list):
        filled = [
            overlay(stage.holding(shared), stage) if isinstance(stage.value, dict) else stage for stage in stages.value
        ]
        rest["stages"] = stages.holding(filled)
    return node.holding(rest)


def node_of(value: object, place: Node) -> Node:
    """Plain data as nodes that all stand at `place`."""
    if isinstance(value, dict):
        return place.holding({key: node_of(child, place) for key, child in value.items()})
    if isinstance(value, list | tuple):
        return place.holding([node_of(child, place) for child in value])
    return place.holding(value)


def _slug(value: Node) -> str:
    plain = value.plain()
    if isinstance(plain, dict):
        plain = plain.get("kind", "x")
    return re.sub(r"[^a-z0-9._-]+", "-", str(plain).lower()).strip("-") or "x"
