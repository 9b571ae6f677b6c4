"""Voilà in a user's own server: the page of the apps service, which fetches nothing from elsewhere."""

from __future__ import annotations

from typing import Any

from geoloom_hub.apps.launcher import OF_LAB


def without_foreign_parts(current_page_config: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Take the address of a foreign host out of what a page is told."""
    return {**current_page_config, "fullMathjaxUrl": ""}


c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.VoilaConfiguration.template = "geoloom"
c.VoilaConfiguration.page_config_hook = without_foreign_parts
c.VoilaConfiguration.extension_denylist = OF_LAB
