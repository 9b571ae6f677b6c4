"""The user's function of case u: TiTiler runs it in its own process, the engine in its sandbox."""

from __future__ import annotations

import numpy as np

PALETTE = {1: "#0000ff", 2: "#006400", 3: "#32cd32", 4: "#bdb76b", 5: "#ffffff", 6: "#d2b48c"}
"""Colours of water, dense, middling and sparse vegetation, bright ground and all else."""


def classify(img):
    """Classes (rows, cols) of blue, green, red and near infrared (4, rows, cols)."""
    b02, b03, b04, b08 = img.astype("float32")
    ndvi = (b08 - b04) / (b08 + b04 + 1)
    ndwi = (b03 - b08) / (b03 + b08 + 1)
    brightness = (b02 + b03 + b04) / 3
    found = np.select([ndwi > 0.1, ndvi > 0.6, ndvi > 0.4, ndvi > 0.2, brightness > 1500], [1, 2, 3, 4, 5], 6)
    return found.astype("uint8")
