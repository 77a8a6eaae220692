"""Tensors that the backward pass computes again instead of finding them kept.

A norm or a modulation is cheap to compute and as wide as what went into it, which autograd keeps anyway: keeping the
result too is memory for nothing. (`compute.recompute` does the same to whole blocks, products and all.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

_KEEPING: ContextVar[bool] = ContextVar("keeping", default=False)


class Made(NamedTuple):
    """A tensor that is `make(*inputs)`; deterministic, and the inputs are not changed before the backward pass."""

    make: Callable[..., Tensor]
    inputs: tuple[Any, ...]


class _Recipe(NamedTuple):
    """A view of a made tensor: how to make that, and where in its memory the view lies (size, stride, offset)."""

    made: Made
    view: tuple[Any, ...]


def again(use: Callable[..., Any], *args: Made | Tensor) -> Any:
    """`use(*args)` with every `Made` computed; what `use` would keep of those for its gradient is made again then."""
    tensors = [arg.make(*arg.inputs) if isinstance(arg, Made) else arg for arg in args]
    if torch.compiler.is_compiling() or not torch.is_grad_enabled() or _KEEPING.get():  # a compiler decides itself
        return use(*tensors)
    with _forgetting([(t, arg) for t, arg in zip(tensors, args, strict=True) if isinstance(arg, Made)]):
        return use(*tensors)


@contextmanager
def keeping() -> Iterator[None]:
    """Inside, `again` keeps everything: where a whole block runs again in any case."""
    before = _KEEPING.set(True)
    try:
        yield
    finally:
        _KEEPING.reset(before)


def _forgetting(made: list[tuple[Tensor, Made]]) -> saved_tensors_hooks:
    recipes = {tensor.untyped_storage().data_ptr(): _detached(how) for tensor, how in made}

    def pack(tensor: Tensor) -> Tensor | _Recipe:
        how = recipes.get(tensor.untyped_storage().data_ptr())
        return _Recipe(how, (tensor.size(), tensor.stride(), tensor.storage_offset())) if how else tensor

    return saved_tensors_hooks(pack, _unpack)


def _unpack(kept: Tensor | _Recipe) -> Tensor:
    if isinstance(kept, Tensor):
        return kept
    return kept.made.make(*kept.made.inputs).as_strided(*kept.view)


def _detached(how: Made) -> Made:
    return Made(how.make, tuple(one.detach() if isinstance(one, Tensor) else one for one in how.inputs))
