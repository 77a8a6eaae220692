"""Read experiments.yaml: every mistake at once, each where it was written. No database, no data set, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from shoestring.errors import Fault, SpecInvalid
from shoestring.faults import at, did_you_mean, distinct, enough, from_validation
from shoestring.home import Home
from shoestring.merge import (
    MAX_RUNS,
    STAGE_DEFAULTS,
    Family,
    node_of,
    with_preset,
    with_stage_defaults,
    with_usual,
)
from shoestring.parts import Parts
from shoestring.spec_parts import SPEC_VERSION, ExperimentSpec, FileSpec, SweepSpec
from shoestring.yaml_source import MAX_FAULTS, Document, Node, bad_character, load, parse, shown

MAX_PROMPTS_BYTES, MAX_PROMPTS = 64 * 1024, 64
MAX_STAGES = 5000  # of all runs of a file
MAX_TRIED = 500  # values in all sweeps of a file: each choice and each end of a range is tried on the sweep's base


@dataclass(frozen=True)
class Experiment:
    """A validated experiment or matrix point, and the merged node it came from."""

    name: str
    spec: ExperimentSpec
    node: Node


@dataclass(frozen=True)
class Spec:
    """A whole valid file. `top` holds what stands beside the experiments: project, data, hardware, budget, sweeps."""

    file: str
    root: Node
    top: FileSpec
    experiments: tuple[Experiment, ...]

    def experiment(self, name: str) -> Experiment | None:
        return next((e for e in self.experiments if e.name == name), None)

    @property
    def max_usd(self) -> float | None:
        return self.top.budget.max_usd if self.top.budget else None


def read_spec(path: Path) -> Spec:
    """Read and validate the file at `path`. Raises NotFound, SpecInvalid with every fault."""
    document = load(path, shown_as=str(path))
    return validate(document, Home.find(path.resolve().parent).root)


def spec_from_text(text: str, project_root: Path, file: str = "experiments.yaml") -> Spec:
    """Validate a spec given as text, as if it stood in `file` under `project_root`. Raises SpecInvalid."""
    return validate(parse(text.encode("utf-8", "surrogatepass"), file), project_root)


def validate(document: Document, project_root: Path) -> Spec:
    """Turn a parsed document into a Spec. Raises SpecInvalid with every fault."""
    file, root = document.file, document.root
    faults: list[Fault] = []
    version = root.get("version")
    if version is not None and isinstance(version.value, int) and version.value > SPEC_VERSION:
        what = f"version {version.value} is newer than this program, which reads version {SPEC_VERSION}"
        raise SpecInvalid([at(file, version, "unsupported_version", what, "upgrade shoestring, or write version: 1")])
    if version is not None and isinstance(version.value, bool):  # True == 1, to Pydantic too
        faults.append(at(file, version, "bad_choice", f"{version.value} is not a version", "write version: 1"))
    top: FileSpec | None = None
    try:
        top = FileSpec.model_validate(root.plain(), strict=True)
    except ValidationError as error:
        faults += from_validation(file, root, error, FileSpec)
    experiments: list[Experiment] = []
    written = root.get("experiments")
    if written is not None and isinstance(written.value, dict):
        experiments = _experiments(file, root, project_root, faults)
        if not faults:
            faults += _too_many(file, written, experiments)
        faults += _sweep_faults(file, root, written.value, top)
    if faults or top is None:
        raise SpecInvalid(distinct(faults))
    return Spec(file, root, top, tuple(experiments))


def _experiments(file: str, root: Node, project_root: Path, faults: list[Fault]) -> list[Experiment]:
    """Every experiment and matrix point that is valid, as long as there are neither too many of them nor of faults."""
    found = []
    n_stages = 0
    prompts, parts = Prompts(file, project_root.resolve(), faults), Parts()
    for name, node in Family(file, _with_mapping_defaults(root), faults).members():
        node = with_stage_defaults(with_preset(file, with_usual(prompts.filled_in(node)), faults))
        n_stages += _length(node.get("stages")) * _length(node.get("seeds"))
        if n_stages > MAX_STAGES:
            what = f"more than {MAX_STAGES} stages in all runs"
            faults.append(at(file, root.nearest(("experiments",)), "too_many_runs", what, "split the file"))
            break
        try:
            spec = ExperimentSpec.model_validate(parts.of(node.plain()), strict=True)
        except ValidationError as error:
            faults += from_validation(file, node, error, ExperimentSpec, STAGE_DEFAULTS)
            if enough(faults):
                break
        else:
            found.append(Experiment(name, spec, node))
    return found


def _length(node: Node | None) -> int:
    """How many a list holds; 1 for anything else."""
    return len(node.value) if node is not None and isinstance(node.value, list) else 1


def _with_mapping_defaults(root: Node) -> Node:
    """Defaults that are no mapping were reported with the top of the file; go on without them."""
    defaults = root.get("defaults")
    if defaults is not None and not isinstance(defaults.value, dict):
        return root.holding({k: v for k, v in root.value.items() if k != "defaults"})
    return root


def _too_many(file: str, written: Node, experiments: list[Experiment]) -> list[Fault]:
    names: set[str] = set()
    for experiment in experiments:
        if experiment.name in names:
            what = f"two experiments are called {experiment.name!r} once the matrix is applied"
            return [at(file, experiment.node, "duplicate_name", what, "rename one, or shorten the name")]
        names.add(experiment.name)
    n_runs = sum(len(e.spec.all_seeds) for e in experiments)
    if n_runs > MAX_RUNS:
        return [at(file, written, "too_many_runs", f"{n_runs} runs; at most {MAX_RUNS}", "split the file")]
    return []


def _sweep_faults(file: str, root: Node, names: dict[str, Node], top: FileSpec | None) -> list[Fault]:
    """What a sweep can get wrong beyond its own fields, without resolving anything."""
    faults: list[Fault] = []
    sweeps = root.get("sweeps")
    for sweep in sweeps.value.values() if sweeps and isinstance(sweeps.value, dict) else ():
        base = sweep.get("base")
        if len(faults) >= MAX_FAULTS:
            break
        if base is None or not isinstance(base.value, str):
            continue  # said with the sweep's own fields
        if base.value not in names:
            what = f"no experiment is called {shown(base.value)}"
            faults.append(at(file, base, "unknown_experiment", what, did_you_mean(base.value, names)))
        elif names[base.value].get("matrix") is not None:
            what = f"{base.value} has a matrix, so it is not one configuration"
            faults.append(at(file, base, "bad_search", what, "sweep an experiment without a matrix"))
    for name, spec in (top.sweeps if top else {}).items():
        faults += _clashes(file, root.nearest(("sweeps", name)), spec)
    searched = [s for spec in (top.sweeps if top else {}).values() for s in spec.search.values()]
    n_tried = sum(len(s.choices or s.ends) for s in searched)
    if n_tried > MAX_TRIED:
        what = f"{n_tried} choices and ends of ranges in all sweeps; at most {MAX_TRIED}"
        faults.append(at(file, root.nearest(("sweeps",)), "bad_search", what, "split the file"))
    return faults


def _clashes(file: str, node: Node, sweep: SweepSpec) -> list[Fault]:
    faults = []
    for path in sweep.search:
        place = node.nearest(("search", path))
        inside = [p for p in sweep.search if p.startswith(f"{path}.")]
        if inside:
            what = f"{path} and {inside[0]} are both searched"
            faults.append(at(file, place, "bad_search", what, "keep the inner one", key=True))
        if path.split(".")[0] == "seed" or ((sweep.until or sweep.rungs) and path.split(".")[0] == "until"):
            what = f"{path} is searched and fixed by the sweep"
            faults.append(at(file, place, "bad_search", what, "search it or fix it", key=True))
    return faults


@dataclass
class Prompts:
    """Replaces `samples.prompts: FILE` by the lines of that file, read once however many experiments name it."""

    file: str
    root: Path
    faults: list[Fault]
    read: dict[str, tuple[list[str], str]] = field(default_factory=dict)

    def filled_in(self, node: Node) -> Node:
        """The experiment with its prompts in place; what is wrong with the file is a fault where it is named."""
        samples = node.get("samples")
        prompts = samples.get("prompts") if samples else None
        if samples is None or prompts is None or not isinstance(prompts.value, str):
            return node
        if prompts.value not in self.read:
            self.read[prompts.value] = _read_prompts(self.root, prompts.value)
        lines, problem = self.read[prompts.value]
        if problem:
            hint = "a text file under the project, one prompt a line; or a list of prompts here"
            self.faults.append(at(self.file, prompts, "bad_prompts_file", f"{shown(prompts.value)} {problem}", hint))
            lines = ["?"]
        listed = samples.holding(samples.value | {"prompts": node_of(lines, prompts)})
        return node.holding(node.value | {"samples": listed})


def _read_prompts(root: Path, name: str) -> tuple[list[str], str]:
    """(lines, what is wrong): one prompt a line, empty lines and # comments left out."""
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            return [], "leads out of the project"
        if not path.is_file():
            return [], "is not a file"
        with open(path, "rb") as opened:
            content = opened.read(MAX_PROMPTS_BYTES + 1)
        if len(content) > MAX_PROMPTS_BYTES:
            return [], f"is larger than {MAX_PROMPTS_BYTES // 1024} KiB"
        text = content.decode("utf-8-sig")
    except (OSError, ValueError, RuntimeError) as error:
        return [], f"cannot be read: {error.__class__.__name__}"
    if bad := bad_character(text):
        return [], f"holds the character {bad}"
    lines = [line.strip() for line in text.splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if len(found) > MAX_PROMPTS:
        return [], f"holds {len(found)} prompts; at most {MAX_PROMPTS}"
    return found, "" if found else "holds no prompt"
