"""The `shoestring` command: verbs first. Each command file registers its verbs; heavy imports wait inside them."""

from __future__ import annotations

import importlib

import typer

# One line per file of verbs; each has `register(app)`.
COMMAND_FILES = ("planning", "queueing", "sweeping", "costing", "pricing", "exchange", "reporting", "serving", "upkeep")

app = typer.Typer(
    name="shoestring",
    help="Train text-to-image diffusion models on a shoestring and know what each dollar bought.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _name in COMMAND_FILES:
    importlib.import_module(f"shoestring.cli.{_name}").register(app)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
