"""Write docs/errors.md from the code: `python docs/make_errors.py`. A test asserts that the page is up to date."""

from __future__ import annotations

from pathlib import Path

from shoestring import retries
from shoestring.codes import CODES, EXITS, FAILURES

PAGE = Path(__file__).with_name("errors.md")
HEAD = """\
# Exit codes, error codes, failure classes

Made from `platform/shoestring/codes.py` and `platform/shoestring/retries.py` by `python docs/make_errors.py`; do not
edit.

With `--json` a command that fails prints `{"error": {"code", "message", "hint"}}`; a file with faults prints
`{"error": {"code": "spec_invalid", "faults": [{"file", "line", "col", "path", "code", "message", "hint"}, …]}}`, every
fault at once. Without it the same stands on the error stream, and so does, always, what the parser of the command line
refuses (2). A verb that takes several runs prints an error for each that refused; the first decides the exit code. No
mistake of a user's ends in a traceback.
"""


def page() -> str:
    """The page's text."""
    exits = [(str(number), means) for number, means in EXITS.items()]
    codes = [(f"`{name}`", str(code.exit_code), code.means, code.do) for name, code in CODES.items()]
    failures = [(f"`{name}`", one.means, becomes(name), one.do) for name, one in FAILURES.items()]
    return "\n".join(
        [
            HEAD,
            "## Exit codes\n",
            *table(("Exit code", "Means"), exits),
            "\n## Error codes\n",
            "A code of a file's fields comes with exit code 2 where such a value was given on the command line.\n",
            *table(("Code", "Exit code", "Means", "What to do"), codes),
            "\n## Failure classes of a run\n",
            "`shoestring status RUN` shows the class and one line of detail. A run that failed is kept as it is;",
            "`shoestring retry RUN` makes a new one.\n",
            *table(("Class", "Means", "What becomes of the run", "What to do"), failures),
            "",
        ]
    )


def becomes(failure_class: str) -> str:
    """What `retries.judge` does with a class, in words."""
    if failure_class == "dependency_failed":
        return "failed, before it began"
    counts = retries.Counts(failures=0, preemptions=0, stalls=0, same_class=0)
    verdict = retries.judge("failed", failure_class, "run", counts, jitter=1.0)
    if verdict.state != "queued":
        return verdict.state
    if verdict.counts_as == "preemption":
        return f"queued again, no failure counted (at most {retries.MAX_PREEMPTIONS} times)"
    if verdict.delay_s == 0:
        return "queued once more, then failed"
    return f"queued again after a pause, {retries.MAX_FAILURES} times, then failed"


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """A Markdown table's lines."""
    lines = [heads, tuple("---" for _ in heads), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
