"""The apps in a folder: every notebook is one, and tells its title and what it is for itself."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["App", "apps_in", "find_app"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class App:
    """A notebook that is served as an app.

    Parameters
    ----------
    name
        The notebook's file name without its ending; the last part of the app's address.
    title
        ``title`` of its metadata, else its first heading, else its name.
    about
        ``description`` of its metadata, else the paragraph below that heading, else nothing.
    """

    name: str
    title: str
    about: str

    @property
    def notebook(self) -> str:
        """The notebook's file name."""
        return f"{self.name}.ipynb"


def apps_in(folder: Path) -> list[App]:
    """All apps of a folder by title; what is hidden, linked to elsewhere or no notebook is none."""
    found = [app for path in folder.glob("*.ipynb") if (app := _read(folder, path)) is not None]
    return sorted(found, key=lambda app: (app.title.casefold(), app.name))


def find_app(folder: Path, name: str) -> App | None:
    """The app of that name; no other name than an app's can lead anywhere."""
    return _read(folder, folder / f"{name}.ipynb") if NAME.fullmatch(name) else None


def _read(folder: Path, path: Path) -> App | None:
    name = path.name.removesuffix(".ipynb")
    if not NAME.fullmatch(name) or not path.is_file():
        return None
    if not path.resolve().is_relative_to(folder.resolve()):
        return None
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        text, metadata = _opening(notebook), notebook.get("metadata", {})
        told, described = str(metadata.get("title", "")), str(metadata.get("description", ""))
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    heading, _, rest = text.partition("\n")
    headed = heading.startswith("#")
    title = told or (_plain(heading) if headed else "") or re.sub("[_-]+", " ", name).strip().capitalize()
    about = described or (_plain(rest.strip().split("\n\n")[0]) if headed else "")
    return App(name, title, about)


def _opening(notebook: dict[str, Any]) -> str:
    """The text of the first cell, if it is one of text."""
    cells = notebook.get("cells", [])
    if not cells or cells[0].get("cell_type") != "markdown":
        return ""
    source = cells[0].get("source", "")
    return (source if isinstance(source, str) else "".join(source)).strip()


def _plain(markdown: str) -> str:
    """Words without Markdown's marks, on one line."""
    words = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    return " ".join(re.sub(r"[*_`#]", "", words).split())
