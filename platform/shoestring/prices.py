"""The price catalogue: what an hour of each hardware costs, what it can do, who says so, and since when."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from shoestring_trainer.config import Frozen, Price

from shoestring.errors import SpecInvalid
from shoestring.faults import from_validation
from shoestring.request_parts import Name
from shoestring.yaml_source import load

SHIPPED = Path(__file__).with_name("prices.yaml")
DATE = r"^\d{4}-\d{2}-\d{2}$"
Precision = Literal["fp32", "tf32", "fp16", "bf16"]


class PriceRow(Frozen):
    """One hardware: dollars an hour per device, and what to assume of its speed until it is measured.

    Dollars are written as such, or as `watts` at `usd_per_kwh`. A figure's source and date stand beside it.
    """

    usd_per_hour: float = Field(ge=0, le=1e6, description="on demand; or write watts and usd_per_kwh instead")
    source: str = Field(min_length=1, description="who says what an hour costs")
    date: str = Field(pattern=DATE)
    watts: float | None = Field(default=None, gt=0, le=1e6, description="what the machine draws while it trains")
    usd_per_kwh: float | None = Field(default=None, ge=0, le=100)
    spot_usd_per_hour: float | None = Field(default=None, ge=0, le=1e6, description="may be taken away at any time")
    spot_source: str = ""
    spot_date: str | None = Field(default=None, pattern=DATE)
    local: bool = Field(default=False, description="the machine that runs `shoestring`: its calibration applies")
    device: Literal["cpu", "cuda", "mps"] = "cpu"
    peak_tflops: float | dict[Precision, float] | None = Field(
        default=None, description="dense; one number for any precision, or one for each"
    )
    memory_gb: float | None = Field(default=None, gt=0, description="of one device, 1 GB = 10^9 bytes")
    specs_source: str = Field(default="", description="who says peak_tflops and memory_gb")
    specs_date: str | None = Field(default=None, pattern=DATE)
    assumed_utilisation: float = Field(default=0.2, gt=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _electricity(cls, values: Any) -> Any:
        """Dollars an hour from watts; one of the two ways is written."""
        if not isinstance(values, dict):
            return values
        watts, usd_per_kwh = values.get("watts"), values.get("usd_per_kwh")
        given = [watts is not None, usd_per_kwh is not None]
        if any(given) and not (all(given) and "usd_per_hour" not in values):
            hint = "write usd_per_hour, or both watts and usd_per_kwh"
            raise PydanticCustomError("invalid_value", "{message}", {"message": "dollars in two halves", "hint": hint})
        if isinstance(watts, int | float) and isinstance(usd_per_kwh, int | float):
            return {**values, "usd_per_hour": watts / 1000 * usd_per_kwh}
        return values

    @model_validator(mode="after")
    def _figures(self) -> PriceRow:
        peaks = self.peak_tflops.values() if isinstance(self.peak_tflops, dict) else [self.peak_tflops or 1.0]
        if not all(0 < peak <= 1e6 for peak in peaks):
            message = f"peak_tflops {self.peak_tflops} must be more than 0"
            raise PydanticCustomError("out_of_range", "{message}", {"message": message, "hint": ""})
        if self.spot_usd_per_hour is not None and not (self.spot_source and self.spot_date):
            message = "spot_usd_per_hour has no spot_source or no spot_date"
            hint = "say who asks that price, and since when"
            raise PydanticCustomError("invalid_value", "{message}", {"message": message, "hint": hint})
        return self

    def peak(self, precision: str) -> float | None:
        """TFLOP/s at this precision; where the hardware has none of it, those of fp32, which stand in for it."""
        peaks = self.peak_tflops
        if not isinstance(peaks, dict):
            return peaks
        return peaks.get(precision, peaks.get("fp32"))  # type: ignore[call-overload, no-any-return]

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
