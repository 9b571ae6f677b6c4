"""Distances and directions on the ground: geodesics of WGS 84, over arrays.

Formulas: T. Vincenty, Direct and inverse solutions of geodesics on the ellipsoid, Survey Review 23 (1975);
errors stay below a millimetre. The inverse is made for points that are not nearly opposite on Earth.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["course", "travel"]

Numbers = npt.NDArray[np.float64]

SEMI_MAJOR = 6378137.0
FLATTENING = 1 / 298.257223563
SEMI_MINOR = SEMI_MAJOR * (1 - FLATTENING)
_SECOND = (SEMI_MAJOR**2 - SEMI_MINOR**2) / SEMI_MINOR**2

ROUNDS = 20
"""Iterations; points that are less than 10,000 km apart need six."""


def travel(
    lon: npt.ArrayLike, lat: npt.ArrayLike, azimuth: npt.ArrayLike, metres: npt.ArrayLike
) -> tuple[Numbers, Numbers]:
    """Where one arrives: longitude (-180 to 180) and latitude in degrees, of the arguments' common shape.

    Parameters
    ----------
    lon, lat
        Start, in degrees.
    azimuth
        Direction at the start, in degrees clockwise from north.
    metres
        Along the geodesic.
    """
    lon, lat, azimuth, metres = np.broadcast_arrays(
        *(np.asarray(one, dtype=np.float64) for one in (lon, lat, azimuth, metres))
    )
    heading = np.radians(azimuth)
    reduced = np.arctan((1 - FLATTENING) * np.tan(np.radians(lat)))
    sine_alpha = np.cos(reduced) * np.sin(heading)
    cosine2_alpha = 1 - sine_alpha**2
    first = np.arctan2(np.tan(reduced), np.cos(heading))
    a, b = _series(cosine2_alpha)
    straight = metres / (SEMI_MINOR * a)
    sigma = straight
    for _ in range(ROUNDS):
        sigma = straight + _correction(b, sigma, np.cos(2 * first + sigma))
    middle = np.cos(2 * first + sigma)
    sine, cosine = np.sin(sigma), np.cos(sigma)
    across = np.sin(reduced) * sine - np.cos(reduced) * cosine * np.cos(heading)
    end = np.arctan2(
        np.sin(reduced) * cosine + np.cos(reduced) * sine * np.cos(heading),
        (1 - FLATTENING) * np.hypot(sine_alpha, across),
    )
    turned = np.arctan2(
        sine * np.sin(heading), np.cos(reduced) * cosine - np.sin(reduced) * sine * np.cos(heading)
    )
    difference = turned - _excess(sine_alpha, cosine2_alpha, sigma, sine, cosine, middle)
    return (lon + np.degrees(difference) + 180) % 360 - 180, np.degrees(end)


def course(
    lon: npt.ArrayLike, lat: npt.ArrayLike, other_lon: npt.ArrayLike, other_lat: npt.ArrayLike
) -> tuple[Numbers, Numbers]:
    """Azimuth in degrees and metres from points to others, of the arguments' common shape."""
    start, end = (
        np.arctan((1 - FLATTENING) * np.tan(np.radians(np.asarray(one, dtype=np.float64))))
        for one in (lat, other_lat)
    )
    wanted = np.radians((np.asarray(other_lon, dtype=np.float64) - np.asarray(lon) + 180) % 360 - 180)
    turned = wanted
    for _ in range(ROUNDS):
        east = np.cos(end) * np.sin(turned)
        north = np.cos(start) * np.sin(end) - np.sin(start) * np.cos(end) * np.cos(turned)
        sine = np.hypot(east, north)
        cosine = np.sin(start) * np.sin(end) + np.cos(start) * np.cos(end) * np.cos(turned)
        sigma = np.arctan2(sine, cosine)
        with np.errstate(invalid="ignore", divide="ignore"):
            sine_alpha = np.nan_to_num(np.cos(start) * np.cos(end) * np.sin(turned) / sine)
            cosine2_alpha = 1 - sine_alpha**2
            middle = np.where(
                cosine2_alpha > 1e-15, cosine - 2 * np.sin(start) * np.sin(end) / cosine2_alpha, 0.0
            )
        turned = wanted + _excess(sine_alpha, cosine2_alpha, sigma, sine, cosine, middle)
    a, b = _series(cosine2_alpha)
    metres = SEMI_MINOR * a * (sigma - _correction(b, sigma, middle))
    return np.degrees(np.arctan2(east, north)), metres


def _series(cosine2_alpha: Numbers) -> tuple[Numbers, Numbers]:
    """Vincenty's A and B."""
    u2 = cosine2_alpha * _SECOND
    a = 1 + u2 / 16384 * (4096 + u2 * (-768 + u2 * (320 - 175 * u2)))
    b = u2 / 1024 * (256 + u2 * (-128 + u2 * (74 - 47 * u2)))
    return a, b


def _correction(b: Numbers, sigma: Numbers, middle: Numbers) -> Numbers:
    """Vincenty's Δσ."""
    sine, cosine = np.sin(sigma), np.cos(sigma)
    last = b / 6 * middle * (-3 + 4 * sine**2) * (-3 + 4 * middle**2)
    result: Numbers = b * sine * (middle + b / 4 * (cosine * (-1 + 2 * middle**2) - last))
    return result


def _excess(
    sine_alpha: Numbers,
    cosine2_alpha: Numbers,
    sigma: Numbers,
    sine: Numbers,
    cosine: Numbers,
    middle: Numbers,
) -> Numbers:
    """Longitude on the sphere less that on the ellipsoid, in radians."""
    c = FLATTENING / 16 * cosine2_alpha * (4 + FLATTENING * (4 - 3 * cosine2_alpha))
    inner = middle + c * cosine * (-1 + 2 * middle**2)
    result: Numbers = (1 - c) * FLATTENING * sine_alpha * (sigma + c * sine * inner)
    return result
