"""The price catalogue: what an hour of each hardware costs, who says so, and since when."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from shoestring_trainer.config import Frozen, Price

from shoestring.errors import SpecInvalid
from shoestring.faults import from_validation
from shoestring.request import Name
from shoestring.yaml_source import load

SHIPPED = Path(__file__).with_name("prices.yaml")


class PriceRow(Frozen):
    """One hardware: dollars an hour per device, and what to assume of its speed until it is measured."""

    usd_per_hour: float = Field(ge=0, le=1e6)
    source: str = Field(min_length=1)
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    local: bool = Field(default=False, description="the machine that runs `shoestring`: its calibration applies")
    device: Literal["cpu", "cuda", "mps"] = "cpu"
    peak_tflops: float | None = Field(default=None, gt=0)
    assumed_utilisation: float = Field(default=0.2, gt=0, le=1)

    def price(self, name: str) -> Price:
        """The row as a training job carries it."""
        return Price(hardware=name, usd_per_hour=self.usd_per_hour, source=f"{self.source} ({self.date})")


class Catalogue(Frozen):
    """A prices.yaml."""

    version: Literal[1]
    prices: dict[Name, PriceRow] = Field(min_length=1)


def read_prices(project_root: Path | None = None) -> dict[str, PriceRow]:
    """The shipped rows, and over them those of the project's own prices.yaml. Raises SpecInvalid, NotFound."""
    rows = _read(SHIPPED)
    own = project_root / "prices.yaml" if project_root else None
    return rows | _read(own) if own and own.exists() else rows


def _read(path: Path) -> dict[str, PriceRow]:
    document = load(path)
    try:
        return Catalogue.model_validate(document.root.plain(), strict=True).prices
    except ValidationError as error:
        raise SpecInvalid(from_validation(document.file, document.root, error, Catalogue)) from None
