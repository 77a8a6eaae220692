"""axe-core, run in a page: the serious and critical findings, but for what is Streamlit's own and named here."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page
from shoestring_trainer.prepare.fetch import npm_command

FOLDER = Path(__file__).with_name("axe")
SCRIPT = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
GRAVE = ("serious", "critical")
# (rule, CSS selector, why): findings inside such an element are not ours to mend
STREAMLITS: tuple[tuple[str, str, str], ...] = ()
RUN = """async (theirs) => {
  const found = await axe.run(document, {resultTypes: ['violations']});
  return found.violations.flatMap((rule) => rule.nodes.map((node) => ({
    rule: rule.id, impact: node.impact || rule.impact, help: rule.help, html: node.html.slice(0, 200),
    target: node.target.flat().join(' '),
    theirs: theirs.some(([name, inside]) => name === rule.id
      && document.querySelector(node.target.flat()[0])?.closest(inside)),
    why: (node.any[0] || node.all[0] || node.none[0] || {message: ''}).message,
  })));
}"""


def install() -> None:
    """Install the version of the lock file beside this one, unless it is there; skip the test where npm cannot."""
    locked = json.loads((FOLDER / "package-lock.json").read_bytes())["packages"]["node_modules/axe-core"]["version"]
    there = SCRIPT.with_name("package.json")
    if there.exists() and json.loads(there.read_bytes())["version"] == locked:
        return
    command = [*npm_command(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"axe-core is not installed and npm cannot: {done.stderr[-400:]}")


def grave_findings(page: Page) -> list[str]:
    """What axe finds serious or critical on the page as it stands, a line each."""
    page.add_script_tag(path=SCRIPT)
    found = page.evaluate(RUN, [[rule, selector] for rule, selector, _ in STREAMLITS])
    return [
        f"{one['rule']} ({one['impact']}): {one['help']}; {one['target']}; {one['html']}; {one['why']}"
        for one in found
        if one["impact"] in GRAVE and not one["theirs"]
    ]
