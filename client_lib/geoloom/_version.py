"""The version, in its one place: the packaging and both packages read it here."""

from __future__ import annotations

__version__ = "0.1.0.dev0"
