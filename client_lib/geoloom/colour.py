"""Colours and ramps by name, shared by notebook and engine. Standard library only.

A colour is normalised to ``"#rrggbbaa"`` in lower case (sRGB, straight alpha); a ramp is a tuple
of evenly spaced stops, and a lookup table is a ramp interpolated to as many colours as asked.

Sources of the ramps
--------------------
viridis, magma, inferno, plasma
    S. van der Walt, N. Smith, E. Firing (matplotlib), CC0.
cividis
    J. Nuñez, C. Anderton, R. Renslow, 2018 (matplotlib), CC0.
turbo
    A. Mikhailov, copyright 2019 Google LLC, Apache-2.0.
greys … piyg
    ColorBrewer, copyright 2002 C. Brewer, M. Harrower, Pennsylvania State University, Apache-2.0:
    color specifications and designs developed by Cynthia Brewer (https://colorbrewer2.org).
terrain, elevation, ocean, bathymetry, ndvi, jet
    Geoloom.

Those of the first three groups are sampled at 35 points and lie at most 3 of 255 steps from
their originals (cividis: 6).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache

from geoloom.errors import ParameterError

__all__ = ["LEVELS", "Colour", "components", "lut", "parse", "ramp", "ramps"]

Colour = str | Sequence[int]
"""What `parse` reads: a CSS name, ``#rgb``, ``#rrggbb``, ``#rrggbbaa`` or (r, g, b[, a])."""

LEVELS = 255
"""Colours of a lookup table: indices 0 to 254, so that 255 is free for "transparent"."""

_CSS = (
    "aliceblue:f0f8ff antiquewhite:faebd7 aqua:00ffff aquamarine:7fffd4 azure:f0ffff beige:f5f5dc "
    "bisque:ffe4c4 black:000000 blanchedalmond:ffebcd blue:0000ff blueviolet:8a2be2 brown:a52a2a "
    "burlywood:deb887 cadetblue:5f9ea0 chartreuse:7fff00 chocolate:d2691e coral:ff7f50 "
    "cornflowerblue:6495ed cornsilk:fff8dc crimson:dc143c cyan:00ffff darkblue:00008b darkcyan:008b8b "
    "darkgoldenrod:b8860b darkgray:a9a9a9 darkgreen:006400 darkgrey:a9a9a9 darkkhaki:bdb76b "
    "darkmagenta:8b008b darkolivegreen:556b2f darkorange:ff8c00 darkorchid:9932cc darkred:8b0000 "
    "darksalmon:e9967a darkseagreen:8fbc8f darkslateblue:483d8b darkslategray:2f4f4f "
    "darkslategrey:2f4f4f darkturquoise:00ced1 darkviolet:9400d3 deeppink:ff1493 deepskyblue:00bfff "
    "dimgray:696969 dimgrey:696969 dodgerblue:1e90ff firebrick:b22222 floralwhite:fffaf0 "
    "forestgreen:228b22 fuchsia:ff00ff gainsboro:dcdcdc ghostwhite:f8f8ff gold:ffd700 goldenrod:daa520 "
    "gray:808080 green:008000 greenyellow:adff2f grey:808080 honeydew:f0fff0 hotpink:ff69b4 "
    "indianred:cd5c5c indigo:4b0082 ivory:fffff0 khaki:f0e68c lavender:e6e6fa lavenderblush:fff0f5 "
    "lawngreen:7cfc00 lemonchiffon:fffacd lightblue:add8e6 lightcoral:f08080 lightcyan:e0ffff "
    "lightgoldenrodyellow:fafad2 lightgray:d3d3d3 lightgreen:90ee90 lightgrey:d3d3d3 lightpink:ffb6c1 "
    "lightsalmon:ffa07a lightseagreen:20b2aa lightskyblue:87cefa lightslategray:778899 "
    "lightslategrey:778899 lightsteelblue:b0c4de lightyellow:ffffe0 lime:00ff00 limegreen:32cd32 "
    "linen:faf0e6 magenta:ff00ff maroon:800000 mediumaquamarine:66cdaa mediumblue:0000cd "
    "mediumorchid:ba55d3 mediumpurple:9370db mediumseagreen:3cb371 mediumslateblue:7b68ee "
    "mediumspringgreen:00fa9a mediumturquoise:48d1cc mediumvioletred:c71585 midnightblue:191970 "
    "mintcream:f5fffa mistyrose:ffe4e1 moccasin:ffe4b5 navajowhite:ffdead navy:000080 oldlace:fdf5e6 "
    "olive:808000 olivedrab:6b8e23 orange:ffa500 orangered:ff4500 orchid:da70d6 palegoldenrod:eee8aa "
    "palegreen:98fb98 paleturquoise:afeeee palevioletred:db7093 papayawhip:ffefd5 peachpuff:ffdab9 "
    "peru:cd853f pink:ffc0cb plum:dda0dd powderblue:b0e0e6 purple:800080 rebeccapurple:663399 "
    "red:ff0000 rosybrown:bc8f8f royalblue:4169e1 saddlebrown:8b4513 salmon:fa8072 sandybrown:f4a460 "
    "seagreen:2e8b57 seashell:fff5ee sienna:a0522d silver:c0c0c0 skyblue:87ceeb slateblue:6a5acd "
    "slategray:708090 slategrey:708090 snow:fffafa springgreen:00ff7f steelblue:4682b4 tan:d2b48c "
    "teal:008080 thistle:d8bfd8 tomato:ff6347 turquoise:40e0d0 violet:ee82ee wheat:f5deb3 white:ffffff "
    "whitesmoke:f5f5f5 yellow:ffff00 yellowgreen:9acd32"
)
_NAMED: dict[str, str] = {
    name: digits for name, _, digits in (entry.partition(":") for entry in _CSS.split())
}

_RAMPS: dict[str, str] = {
    "viridis": (
        "440154 470c5f 481769 482172 472a7a 463480 433d84 404588 3d4e8a 39568c 355e8d 32658e 2e6d8e 2b748e "
        "297b8e 26828e 23898e 21908c 1f978b 1f9e89 21a585 26ac81 2eb37c 39b976 46c06f 55c667 65cb5e 76d053 "
        "89d548 9cd93c b0dd2f c4e022 d8e219 ebe51a fde725"
    ),
    "magma": (
        "000004 030311 090720 110c30 1a1042 251254 311165 3e0f72 4a1079 56147d 621980 6e1e81 792282 852781 "
        "912b81 9d2f7f aa337d b63779 c23b75 ce4070 d9466b e44e65 ec5860 f3655c f7725c fa805f fc8e64 fd9c6b "
        "feaa74 feb87f fec68a fed496 fde2a3 fcefb1 fcfdbf"
    ),
    "inferno": (
        "000004 030311 0a0722 130a33 1e0c45 2a0b56 380962 440a69 510e6c 5d126e 69166e 741b6e 801f6c 8c2369 "
        "982766 a42c61 b0315b bb3755 c63d4d d04545 d94d3d e15734 e9612b ef6d22 f47918 f8860e fa9407 fca208 "
        "fcb014 fbbf24 f8cd37 f5dc4e f2ea69 f3f688 fcffa4"
    ),
    "plasma": (
        "0d0887 21068f 2f0596 3d049b 4903a0 5502a4 6100a7 6d00a8 7801a8 8305a7 8e0ca4 9814a0 a21d9a ab2594 "
        "b42e8d bc3686 c43e7f cb4778 d24f71 d8586b de6164 e4695e e97257 ee7c51 f3854b f68f44 f99a3e fca437 "
        "fdaf31 febb2b fdc627 fbd325 f8df25 f4ec27 f0f921"
    ),
    "cividis": (
        "00224e 00285a 002d68 003271 163770 243c6e 2e416d 37476c 3f4c6c 47516c 4e566c 555b6d 5c616e 62666f "
        "696b71 6f7073 767676 7c7b78 838179 8a8778 928c78 999277 a09875 a89e73 afa471 b7aa6e bfb06b c7b667 "
        "cfbd62 d7c45d dfca57 e7d14f f0d846 f9df3b fee838"
    ),
    "turbo": (
        "30123b 392870 3f3e9c 4452c1 4666dd 477af1 458cfd 3c9ffd 2fb2f4 23c4e3 1ad4d0 18e1bc 22ebaa 37f493 "
        "52fa7a 6ffe61 8bff4b a3fd3c b7f735 caee34 dbe236 ead439 f5c53a fcb537 fea130 fd8b27 f9751d f25f14 "
        "e84b0c dc3c08 ce2d04 bd2102 a91601 930c01 7a0403"
    ),
    "greys": "ffffff f0f0f0 d9d9d9 bdbdbd 969696 737373 525252 252525 000000",
    "greens": "f7fcf5 e5f5e0 c7e9c0 a1d99b 74c476 41ab5d 238b45 006d2c 00441b",
    "blues": "f7fbff deebf7 c6dbef 9ecae1 6baed6 4292c6 2171b5 08519c 08306b",
    "reds": "fff5f0 fee0d2 fcbba1 fc9272 fb6a4a ef3b2c cb181d a50f15 67000d",
    "oranges": "fff5eb fee6ce fdd0a2 fdae6b fd8d3c f16913 d94801 a63603 7f2704",
    "purples": "fcfbfd efedf5 dadaeb bcbddc 9e9ac8 807dba 6a51a3 54278f 3f007d",
    "ylgn": "ffffe5 f7fcb9 d9f0a3 addd8e 78c679 41ab5d 238443 006837 004529",
    "ylgnbu": "ffffd9 edf8b1 c7e9b4 7fcdbb 41b6c4 1d91c0 225ea8 253494 081d58",
    "ylorrd": "ffffcc ffeda0 fed976 feb24c fd8d3c fc4e2a e31a1c bd0026 800026",
    "rdylgn": "a50026 d73027 f46d43 fdae61 fee08b ffffbf d9ef8b a6d96a 66bd63 1a9850 006837",
    "rdylbu": "a50026 d73027 f46d43 fdae61 fee090 ffffbf e0f3f8 abd9e9 74add1 4575b4 313695",
    "rdbu": "67001f b2182b d6604d f4a582 fddbc7 f7f7f7 d1e5f0 92c5de 4393c3 2166ac 053061",
    "spectral": "9e0142 d53e4f f46d43 fdae61 fee08b ffffbf e6f598 abdda4 66c2a5 3288bd 5e4fa2",
    "brbg": "543005 8c510a bf812d dfc27d f6e8c3 f5f5f5 c7eae5 80cdc1 35978f 01665e 003c30",
    "piyg": "8e0152 c51b7d de77ae f1b6da fde0ef f7f7f7 e6f5d0 b8e186 7fbc41 4d9221 276419",
    "terrain": "2a6f49 4f9158 8ab56b c8cf87 e6d7a0 cfae79 a98057 86664f 9a8c85 cdc8c5 ffffff",
    "elevation": "0b5d3b 3c8a45 7fb04f bfd06a f1e59a e3bf6d c68f49 a1643a 7c4a3a 9c8078 d9d2cf ffffff",
    "ocean": "031633 07305c 0b4f86 1772a8 3396bd 63b6cb 9bd2d8 d2ebe6 f7fcf8",
    "bathymetry": "0a0f3c 12235f 173c84 1f5aa3 2d7bba 4b9cc9 78bad4 a9d5df d8eee9",
    "ndvi": "7a4a21 a97c46 d1b078 efe0ad f6f3bf d3e38a a3cd5d 6fb23c 3d9330 197128 074a1c",
    "jet": "00007f 0000ff 007fff 00ffff 7fff7f ffff00 ff7f00 ff0000 7f0000",
}

_HEX = re.compile(r"#(?:[0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})", re.ASCII)


def parse(colour: Colour) -> str:
    """A colour as ``"#rrggbbaa"``.

    Parameters
    ----------
    colour
        A CSS colour name (any case) or ``"transparent"``; ``"#rgb"``, ``"#rgba"``, ``"#rrggbb"``
        or ``"#rrggbbaa"``; or three or four whole numbers 0 to 255: red, green, blue[, alpha].

    Raises
    ------
    ParameterError
        If it is none of these; names the nearest colour names.
    """
    if isinstance(colour, str):
        return _parse_text(colour)
    try:
        numbers = [_whole(part) for part in colour]
    except TypeError:
        raise _not_a_colour(colour) from None
    if len(numbers) not in (3, 4) or not all(0 <= number <= 255 for number in numbers):
        raise _not_a_colour(colour)
    return "#" + "".join(f"{number:02x}" for number in (*numbers, 255)[:4])


def components(colour: Colour) -> tuple[int, int, int, int]:
    """Red, green, blue and alpha of a colour, each 0 to 255."""
    text = parse(colour)
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16), int(text[7:9], 16)


def ramps() -> tuple[str, ...]:
    """Names of all ramps, in alphabetical order; each can be reversed by the suffix ``_r``."""
    return tuple(sorted(_RAMPS))


def ramp(name: str) -> tuple[str, ...]:
    """The evenly spaced stops of a named ramp, as ``"#rrggbbaa"``.

    Raises
    ------
    ParameterError
        If there is no such ramp; names the nearest ones.
    """
    if not isinstance(name, str):
        raise ParameterError(f"A ramp's name must be text, not {_brief(name)}.", hint=_known_ramps())
    plain = name.strip().lower()
    backwards = plain.endswith("_r")
    stops = _RAMPS.get(plain.removesuffix("_r"))
    if stops is None:
        near = get_close_matches(plain.removesuffix("_r"), _RAMPS, n=3)
        hint = f"Did you mean {_choice(near)}?" if near else _known_ramps()
        raise ParameterError(f"There is no colour ramp {_brief(name)}.", hint=hint)
    colours = tuple(f"#{stop}ff" for stop in stops.split())
    return colours[::-1] if backwards else colours


def lut(stops: Sequence[Colour], n: int = LEVELS) -> tuple[str, ...]:
    """`n` colours as ``"#rrggbbaa"``, interpolated linearly in sRGB between evenly spaced stops.

    Parameters
    ----------
    stops
        One or more colours as `parse` reads them; a single one is repeated.
    n
        How many colours, 1 to 65,536. More stops than `n` are sampled.

    Raises
    ------
    ParameterError
        If a stop is no colour, there are none, or `n` is out of range.
    """
    if isinstance(stops, str) or not isinstance(stops, Sequence) or not stops:
        raise ParameterError(
            f"A ramp needs a list of colours, not {_brief(stops)}.",
            hint='For example ["darkgreen", "wheat", "white"]; ramp(name) gives the named ones.',
        )
    if not 1 <= n <= 65536:
        raise ParameterError(f"A table of {n} colours cannot be made.", hint="Use 1 to 65536.")
    return _interpolate(tuple(parse(stop) for stop in stops), n)


@lru_cache(maxsize=256)
def _interpolate(stops: tuple[str, ...], n: int) -> tuple[str, ...]:
    points = [components(stop) for stop in stops]
    last = len(points) - 1
    colours = []
    for index in range(n):
        place = index * last
        left, rest = divmod(place, n - 1) if n > 1 else (0, 0)
        low, high = points[left], points[min(left + 1, last)]
        span = max(n - 1, 1)
        mixed = ((a * (span - rest) + b * rest + span // 2) // span for a, b in zip(low, high, strict=True))
        colours.append("#" + "".join(f"{part:02x}" for part in mixed))
    return tuple(colours)


def _parse_text(text: str) -> str:
    plain = text.strip().lower()
    if plain in _NAMED:
        return f"#{_NAMED[plain]}ff"
    if plain == "transparent":
        return "#00000000"
    if not _HEX.fullmatch(plain):
        near = get_close_matches(plain, _NAMED, n=3)
        raise _not_a_colour(text, f"Did you mean {_choice(near)}?" if near else None)
    digits = plain[1:]
    if len(digits) < 6:
        digits = "".join(2 * digit for digit in digits)
    return f"#{digits:f<8}"


def _whole(number: object) -> int:
    if isinstance(number, (bool, str)):
        raise TypeError("not a number")
    return operator.index(number)  # type: ignore[arg-type]


def _not_a_colour(value: object, hint: str | None = None) -> ParameterError:
    usual = 'Use a CSS name ("darkgreen"), "#rrggbb", "#rrggbbaa" or whole numbers 0 to 255 (r, g, b[, a]).'
    return ParameterError(f"{_brief(value)} is no colour.", hint=hint or usual)


def _known_ramps() -> str:
    return f"There are {', '.join(ramps())}; add _r to reverse one."


def _choice(names: Sequence[str]) -> str:
    return " or ".join(repr(name) for name in names)


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
