"""The documents say what is there: examples parse, links and named files exist, commands are real."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# Where a path in backticks may start.
STARTS = (
    ROOT,
    ROOT / "client_lib" / "geoloom",
    ROOT / "tile_engine" / "geoloom_engine",
    ROOT / "hub" / "geoloom_hub",
)

PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
# A file with one of these endings anywhere, or a folder in backticks.
NAMED_FILE = re.compile(r"[\w./-]*\w\.(?:pyi?|cfg|toml|md|ipynb|yaml)\b|(?<=`)[\w./-]+/(?=`)")
MAKE_TARGET = re.compile(r"`make ([a-z-]+)")

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@each_document
def test_python_examples_parse(path: Path) -> None:
    for block in PYTHON_BLOCK.findall(path.read_text(encoding="utf-8")):
        ast.parse(block)


@each_document
def test_links_lead_somewhere(path: Path) -> None:
    links = [link for link in LINK.findall(path.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_documents_named_in_code_exist() -> None:
    sources = [*(ROOT / "client_lib").rglob("*.py"), *(ROOT / "tile_engine").rglob("*.py")]
    named = {name for path in sources for name in re.findall(r"docs/[\w/-]+\.md", path.read_text("utf-8"))}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@each_document
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(MAKE_TARGET.findall(path.read_text(encoding="utf-8"))) <= targets


def test_architecture_names_only_files_that_exist() -> None:
    named = NAMED_FILE.findall((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    assert len(named) > 10
    assert [name for name in named if not any((start / name).exists() for start in STARTS)] == []


def test_operations_are_documented_as_declared() -> None:
    command = [sys.executable, str(ROOT / "tools" / "operations.py")]
    page = subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout
    fresh = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == page
    assert fresh, "run: make docs"


def test_every_make_target_is_explained() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    explained = set(re.findall(r"^([a-z-]+):.*## \S", text, re.MULTILINE))
    assert {name for name in phony[1].split() if not name.startswith("setup-")} == explained
