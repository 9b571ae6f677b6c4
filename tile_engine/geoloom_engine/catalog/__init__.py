"""Catalogues: where collections are described, found by name, searched and resolved to selections."""

from __future__ import annotations

from geoloom_engine.catalog.geoparquet import read_items, write_items

__all__ = ["read_items", "write_items"]
