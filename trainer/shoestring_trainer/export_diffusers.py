"""`python -m shoestring_trainer.export_diffusers RUN_DIR --out DIR`: a run as a folder that diffusers loads alone.

    DIR/model_index.json, pipeline.py, README.md
        transformer/    config.json, weights, and the network's own modules as the package shoestring_<digest>
        text_encoder/   the data set's captions and their states; the text encoder's weights, where it has some
        vae/            the autoencoder; not for a network that draws pixels

No second model is written down: the package is a copy of the modules that train and sample, their imports made
relative.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring_trainer.failures import BadConfig, told_in_a_line

if TYPE_CHECKING:
    from shoestring_trainer.data import DataSet
    from shoestring_trainer.restore import Restored

HERE = Path(__file__).parent
PACKAGE = __package__ or "shoestring_trainer"
ROOTS = ("diffusers_transformer", "prompts", "decoder")
PARTS = {"transformer": "Transformer", "text_encoder": "TextEncoder", "vae": "Decoder"}
README = """# {name}, step {step}

Text to picture: a masked diffusion transformer of {millions:.1f} M parameters, trained by Shoestring on {data}.
It needs torch, diffusers, pydantic and safetensors{more}; its own code is in this folder.

```python
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained("{folder}", custom_pipeline="{folder}/pipeline.py", trust_remote_code=True)
pipe("{prompt}", seed=0, num_inference_steps=20, guidance_scale=3.0).images[0].save("picture.png")
```
"""


@told_in_a_line
def main(argv: list[str] | None = None) -> int:
    """Export one run; print what it is as JSON; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m shoestring_trainer.export_diffusers", description=__doc__.splitlines()[0]
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder, or an earlier export")
    parser.add_argument("--raw", action="store_true", help="the trained weights; default: their moving average")
    args = parser.parse_args(argv)
    facts = export_folder(args.run_dir, args.out, args.raw)
    print(json.dumps(facts))
    return 0


def export_folder(root: Path, out: Path, raw: bool = False) -> dict[str, Any]:
    """Write the folder under a temporary name and rename it; return its step and files. Raises TrainFailure."""
    from shoestring_trainer.restore import restore

    if out.exists() and not (out / "model_index.json").exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadConfig(f"--out {out} exists and is no exported model: choose another folder")
    restored = restore(root, raw=raw)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write_transformer(partial / "transformer", restored)
        has_encoder = _write_text_encoder(partial / "text_encoder", restored.data)
        has_vae = _write_vae(partial / "vae", restored.data)
        _write_index(partial, restored, has_vae)
        _write_readme(partial / "README.md", out, restored, has_encoder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    return {"out": str(out), "step": restored.step, "weights": "raw" if raw else "ema", "files": files}


def carried_modules() -> dict[str, str]:
    """The modules that drawing needs, with their imports made relative: file name → source."""
    sources: dict[str, str] = {}
    wanted = list(ROOTS)
    while wanted:
        name = wanted.pop()
        if f"{name}.py" in sources:
            continue
        source = (HERE / f"{name}.py").read_text(encoding="utf-8")
        sources[f"{name}.py"] = re.sub(rf"^(\s*from ){PACKAGE}(?:\.(\w+))?( import )", r"\1.\2\3", source, flags=re.M)
        wanted += _imported(source)
    return {"__init__.py": "", **dict(sorted(sources.items()))}


def _imported(source: str) -> list[str]:
    """The modules of this package that a source imports, anywhere in it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}."):
            found.append(str(node.module).removeprefix(f"{PACKAGE}."))
    return found


def _write_transformer(folder: Path, restored: Restored) -> None:
    from shoestring_trainer.diffusers_transformer import ShoestringTransformer
    from shoestring_trainer.restore import stage_before

    config, index = restored.config, stage_before(restored.config, restored.step)
    carried = ShoestringTransformer(
        model=config.model_at(index).model_dump(mode="json"),
        shape=list(config.data_at(index).shape),
        caption_dim=config.data.caption_dim,
        objective=config.objective.model_dump(mode="json"),
    )
    trained: Any = restored.denoiser.net
    carried.net.load_state_dict(trained.state_dict())
    carried.save_pretrained(folder)
    modules = carried_modules()
    digest = hashlib.sha256(json.dumps(modules).encode()).hexdigest()[:12]
    (folder / f"shoestring_{digest}").mkdir()
    for name, source in modules.items():
        (folder / f"shoestring_{digest}" / name).write_text(source, encoding="utf-8")


def _write_text_encoder(folder: Path, data: DataSet) -> bool:
    """Copy captions, states and encoder; say whether an encoder's weights were there to copy."""
    from shoestring_trainer import prompts
    from shoestring_trainer.text import verified_model_folder

    folder.mkdir()
    for name in prompts.FILES:
        shutil.copyfile(data.path / name, folder / name)
    facts = data.manifest["text"]
    (folder / prompts.FACTS).write_text(json.dumps(facts, indent=1))
    if "package" not in facts:
        return False
    try:
        source = verified_model_folder(facts)
    except ValueError as error:
        print(f"without a text encoder, for captions of the set only: {error}", file=sys.stderr)
        return False
    (folder / prompts.ENCODER).mkdir()
    for file in sorted(path for path in source.iterdir() if path.suffix in (".json", ".txt", ".safetensors")):
        shutil.copyfile(file, folder / prompts.ENCODER / file.name)
    return True


def _write_vae(folder: Path, data: DataSet) -> bool:
    """Copy the autoencoder; say whether there is one."""
    from shoestring_trainer.prepare.encoded_set import model_files

    recorded = data.manifest["autoencoder"]
    if not recorded:
        return False
    folder.mkdir()
    for path in model_files(data.path / recorded["path"]):
        shutil.copyfile(path, folder / path.name)
    return True


def _write_index(folder: Path, restored: Restored, has_vae: bool) -> None:
    import diffusers

    index: dict[str, Any] = {
        "_class_name": ["pipeline", "ShoestringPipeline"],
        "_diffusers_version": diffusers.__version__,
    }
    for part, name in PARTS.items():
        there = part != "vae" or has_vae
        index[part] = ["parts", name] if there else [None, None]
        if there:
            shutil.copyfile(HERE / "diffusers_parts.py", folder / part / "parts.py")
    if own := restored.config.samples:
        low, high = own.guidance_interval or (None, None)
        index |= {"sampler": own.sampler, "guidance_low": low, "guidance_high": high}
    shutil.copyfile(HERE / "diffusers_pipeline.py", folder / "pipeline.py")
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))


def _write_readme(path: Path, out: Path, restored: Restored, has_encoder: bool) -> None:
    net: Any = restored.denoiser.net
    text = README.format(
        name=restored.config.name,
        step=restored.step,
        millions=sum(p.numel() for p in net.parameters()) / 1e6,
        data=restored.data.manifest["name"],
        more=", and transformers for sentences that are no caption of the set" if has_encoder else "",
        folder=out.name,
        prompt=restored.data.captions[0],
    )
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
