"""`python -m shoestring_trainer.quality RUN_DIR --n N --out FILE.json`: KID and caption retrieval of a run.

N pictures are drawn for captions that training never showed (val and hold-out), and compared with the real pictures
of those splits:

- `eval/kid_effnet` with `eval/kid_effnet_se`: kernel distance on EfficientNet-Lite0 features (see `metrics.kid`).
  Not comparable with published FID or KID.
- both again with `_seen` (unseen concepts in styles that training showed them in: the val split) and `_heldout`
  (pairs of style × concept that training never showed: the hold-out), against the real pictures of that split alone.
- `eval/retrieval_r1`: how often a picture's own caption is the most similar among all those captions, by a ridge
  regression from features to mean-pooled text states, fitted on real train pictures; `eval/retrieval_r1_real` is
  what real pictures reach; `eval/retrieval_p` is the permutation p of matched against shuffled captions. The text
  states are the generator's own, so never select a run on this alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring_trainer.config import Samples
from shoestring_trainer.failures import BadData, told_in_a_line
from shoestring_trainer.run_dir import write_atomic

if TYPE_CHECKING:  # torch waits until the arguments are right
    import numpy as np
    from torch import Tensor

    from shoestring_trainer.data import DataSet
    from shoestring_trainer.features import FeatureNet
    from shoestring_trainer.metrics import Ridge
    from shoestring_trainer.restore import Restored

MAX_REAL, MAX_FIT = 1000, 1500


@told_in_a_line
def main(argv: list[str] | None = None) -> int:
    """Measure a run's quality; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m shoestring_trainer.quality", description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    parser.add_argument("--n", type=int, default=300, help="pictures to draw (default 300)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    parser.add_argument("--seed", type=int, default=0, help="noise, choice of captions and pictures, shuffles")
    parser.add_argument("--steps", type=int, default=10, help="solver steps (dpmpp2m)")
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--batch", type=int, default=32, help="pictures at once, at most 64")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--untrained", action="store_true", help="the weights that training started from")
    which.add_argument("--raw", action="store_true", help="the trained weights themselves instead of their average")
    args = parser.parse_args(argv)
    if args.n < 3 or not 1 <= args.batch <= 64 or args.steps < 1:
        parser.error("--n at least 3, --batch 1 to 64, --steps at least 1")
    from shoestring_trainer.restore import restore

    restored = restore(args.run_dir, args.untrained, args.raw)
    measured = measure(restored, args) | {"untrained": args.untrained, "raw": args.raw}
    write_atomic(args.out, json.dumps(measured, indent=1, allow_nan=False).encode())
    return 0


def measure(restored: Restored, args: argparse.Namespace) -> dict[str, Any]:
    """Draw, extract features, compare; of `args` n, seed, steps, guidance and batch count. Raises TrainFailure."""
    from shoestring_trainer import metrics
    from shoestring_trainer.features import FeatureNet, real_features
    from shoestring_trainer.seeds import generator

    began = time.monotonic()
    data, net = restored.data, FeatureNet()
    held_out, fit = held_out_pictures(data, args.seed, MAX_REAL), some_of(data.train, args.seed, MAX_FIT)
    real = real_features(net, data, held_out, _progress("features of real pictures", len(held_out)))
    train = real_features(net, data, fit, _progress("features of train pictures", len(fit)))

    captions = list(dict.fromkeys(data.caption(i) for i in held_out))
    asked = [i % len(captions) for i in range(args.n)]  # which caption each drawn picture is for
    drawn = draw_features(restored, net, [captions[i] for i in asked], args)
    kid = metrics.kid(drawn, real)

    choices = embeddings(data, captions)  # (Q, E)
    ridge = metrics.fit_ridge(train, embeddings(data, [data.caption(i) for i in fit]))
    right = [captions.index(data.caption(i)) for i in held_out]
    found = _retrieval(ridge, drawn, choices, asked, generator(args.seed, 0, "p"))
    found_real = _retrieval(ridge, real, choices, right, generator(args.seed, 1, "p"))
    return {
        "eval/kid_effnet": kid.value,
        "eval/kid_effnet_se": kid.se,
        "eval/retrieval_r1": found.r1,
        "eval/retrieval_r1_real": found_real.r1,
        "eval/retrieval_similarity": found.similarity,
        "eval/retrieval_similarity_shuffled": found.similarity_shuffled,
        "eval/retrieval_p": found.p,
        **_by_split(data, held_out, (right, asked), (real, drawn), ridge, choices - ridge.centre),
        "n": args.n,
        "n_real": len(held_out),
        "n_fit": len(fit),
        "n_captions": len(captions),
        "step": restored.step,
        "seed": args.seed,
        "sampler": "dpmpp2m",
        "n_steps": args.steps,
        "guidance": args.guidance,
        "seconds": round(time.monotonic() - began, 1),
    }


def _by_split(
    data: DataSet,
    held_out: np.ndarray,
    caption_of: tuple[list[int], list[int]],
    features: tuple[Tensor, Tensor],
    ridge: Ridge,
    choices: Tensor,
) -> dict[str, float]:
    """KID and R@1 of each split alone; `caption_of` and `features` are of the real pictures and of the drawn ones.

    A split with fewer than three pictures of either is left out.
    """
    import numpy as np
    import torch

    from shoestring_trainer import metrics

    of_real, of_drawn = (torch.tensor(rows) for rows in caption_of)
    values: dict[str, float] = {}
    for name, split in (("seen", data.val), ("heldout", data.holdout)):
        is_real = torch.from_numpy(np.isin(held_out, split))
        is_drawn = torch.isin(of_drawn, of_real[is_real])
        real, drawn = features[0][is_real], features[1][is_drawn]
        if min(len(real), len(drawn)) < 3:
            continue
        kid = metrics.kid(drawn, real)
        first = metrics.similarities(ridge(drawn), choices).argmax(1)
        values |= {
            f"eval/kid_effnet_{name}": kid.value,
            f"eval/kid_effnet_{name}_se": kid.se,
            f"eval/retrieval_r1_{name}": float((first == of_drawn[is_drawn]).double().mean()),
            f"n_{name}": len(drawn),
        }
    return values


def held_out_pictures(data: DataSet, seed: int, limit: int) -> np.ndarray:
    """Choose real pictures whose captions training never showed, in seeded order. Raises BadData when too few."""
    import numpy as np

    held_out = np.concatenate([data.val, data.holdout])
    if len(held_out) < 3:
        raise BadData(f"data set {data.manifest['name']} holds {len(held_out)} pictures out of training; 3 are needed")
    return some_of(held_out, seed, limit)


def some_of(indices: np.ndarray, seed: int, limit: int) -> np.ndarray:
    """Shuffle `indices` by the seed and take at most `limit`."""
    from shoestring_trainer.seeds import epoch_order

    return indices[epoch_order(seed, 0, len(indices)).numpy()[:limit]]


def draw_features(restored: Restored, net: FeatureNet, prompts: list[str], args: argparse.Namespace) -> Tensor:
    """Draw a picture for each prompt and give its features (N, 1280)."""
    import torch

    from shoestring_trainer import grids

    tick, parts = _progress("drawn pictures", len(prompts)), []
    for first in range(0, len(prompts), args.batch):
        part = tuple(prompts[first : first + args.batch])
        samples = Samples(
            every_steps=1, prompts=part, n_steps=args.steps, guidance=args.guidance, seed=args.seed, sampler="dpmpp2m"
        )
        parts.append(net(grids.draw(restored.denoiser, restored.data, samples, restored.device, first)))
        tick(len(part))
    return torch.cat(parts)


def embeddings(data: DataSet, captions: list[str]) -> Tensor:
    """Average each caption's text states over its tokens: (captions, E)."""
    distinct = list(dict.fromkeys(captions))
    states, mask = data.prompt_states(distinct)
    pooled = states.sum(1) / mask.sum(1, keepdim=True) if mask is not None else states.mean(1)
    row = {caption: i for i, caption in enumerate(distinct)}
    return pooled[[row[caption] for caption in captions]]


def _retrieval(ridge: Any, features: Tensor, choices: Tensor, right: list[int], generator: Any) -> Any:
    import torch

    from shoestring_trainer.metrics import retrieval

    return retrieval(ridge(features), choices - ridge.centre, torch.tensor(right), generator)


def _progress(what: str, total: int) -> Any:
    done = 0

    def tick(n: int) -> None:
        nonlocal done
        last, done = done, done + n
        if done >= total or done * 10 // total > last * 10 // total:  # ten lines at most
            print(f"{what}: {done}/{total}", flush=True)

    return tick


if __name__ == "__main__":
    sys.exit(main())
