"""Opens the parts of an exported folder with the code that it carries: the package `transformer/shoestring_…`.

diffusers copies this file away before it runs it, so the folder is known from a part's path only.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any


def _carried(part: str, module: str) -> Any:
    place = Path(part).resolve().parent / "transformer"
    package = next(place.glob("shoestring_*/__init__.py")).parent.name  # named by its content
    if str(place) not in sys.path:
        sys.path.append(str(place))
    return importlib.import_module(f"{package}.{module}")


class Transformer:
    """The network."""

    @classmethod
    def from_pretrained(cls, part: str, **options: Any) -> Any:
        """Open the network in folder `part`."""
        return _carried(part, "diffusers_transformer").ShoestringTransformer.from_pretrained(part, **options)


class TextEncoder:
    """Sentences to states."""

    @classmethod
    def from_pretrained(cls, part: str, **options: Any) -> Any:
        """Open the captions, and the encoder if there is one, in folder `part`."""
        return _carried(part, "prompts").Prompts.from_pretrained(part)


class Decoder:
    """Latents to pictures."""

    @classmethod
    def from_pretrained(cls, part: str, **options: Any) -> Any:
        """Open the autoencoder in folder `part`, which diffusers can open by itself too."""
        return _carried(part, "decoder").open_decoder(part)
