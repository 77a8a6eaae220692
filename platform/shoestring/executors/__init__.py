"""Executors: where an attempt's trainer runs. One line for each engine."""

from __future__ import annotations

from shoestring.executors.local import LocalExecutor

EXECUTORS = {"local": LocalExecutor}
