"""Readers: where source pixels come from."""

from __future__ import annotations

from geoloom_engine.readers.pool import SourcePool
from geoloom_engine.readers.source import BandInfo, Source, SourceInfo, Transform, Window

__all__ = ["BandInfo", "Source", "SourceInfo", "SourcePool", "Transform", "Window"]
