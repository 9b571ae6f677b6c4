"""The golden chains: run this file to write their keys anew, after a deliberate change of format.

Keys are for ever: a key that changes makes every saved map lose its chain.

    python tests/golden/make_keys.py

Needs the standard library only, and imports no op, so that any Python can check the keys.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEYS = HERE / "keys.json"
CLIENT = HERE.parent.parent / "client_lib"


def bare_geoloom() -> None:
    """Make `geoloom.chain` importable without running `geoloom/__init__.py` and what it imports."""
    if "geoloom" not in sys.modules:
        package = types.ModuleType("geoloom")
        package.__path__ = [str(CLIENT / "geoloom")]
        sys.modules["geoloom"] = package


def chains() -> dict[str, object]:
    """Chains by name: every kind of value and every shape of graph that the format knows."""
    from geoloom.chain import Chain

    scene = Chain.extend("open", 1, {"href": "/data/scene.tif", "fingerprint": None})
    red = Chain.extend("select", 1, {"names": ["B04"]}, (scene,))
    nir = Chain.extend("select", 1, {"names": ["B08"]}, (scene,))
    difference = Chain.extend("subtract", 1, {}, (nir, red))
    total = Chain.extend("add", 1, {}, (nir, red))
    ndvi = Chain.extend("divide", 1, {}, (difference, total))
    selection = "0123456789abcdef" * 2
    item = Chain.extend("item", 1, {"selection": selection})
    cloudy = Chain.extend("isin", 1, {"values": [3, 8, 9, 10]}, (item,))
    clear = Chain.extend("mask", 1, {}, (item, Chain.extend("invert", 1, {}, (cloudy,))))
    text = 'Zürich/Ελλάδα/日本/🛰 "quoted" \\ \x00\x01\x1f\x7f\u2028\u2029\ufeff é e\u0301'
    deep = scene
    for _ in range(60):
        deep = Chain.extend("abs", 1, {}, (deep,))
    return {
        "source": scene,
        "shared": ndvi,
        "same_input_twice": Chain.extend("add", 1, {}, (red, red)),
        "order_of_inputs": Chain.extend("subtract", 1, {}, (red, nir)),
        "no_input": Chain.extend("constant", 1, {"value": 3}),
        "float_not_int": Chain.extend("constant", 1, {"value": 3.0}),
        "version": Chain.extend("slope", 2, {"z_factor": 1.0}, (scene,)),
        "floats": Chain.extend("f", 1, {"v": [0.0, 0.1, 1e16, 1e-7, 1.5e300, 5e-324, -2.5, 123456789.125]}),
        "integers": Chain.extend("f", 1, {"v": [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1]}),
        "nested": Chain.extend("f", 1, {"v": [[], [[1, 2.0], [None, True, False, ""]]], "a": None, "Z": "z"}),
        "unicode": Chain.extend("open", 1, {"href": text, "fingerprint": None}),
        "unicode_names": Chain.extend(
            "rename", 1, {"names": ["ä", "中", "𝔅", "z", "é", "e\u0301"]}, (scene,)
        ),
        "many_inputs": Chain.extend("stack", 1, {}, (ndvi, red, nir, scene, ndvi)),
        "item": item,
        "each": Chain.extend("composite", 1, {"selection": selection, "how": "median"}, (), clear),
        "each_and_input": Chain.extend("quality", 1, {}, (scene,), clear),
        "deep": deep,
    }


def keys() -> dict[str, dict[str, str]]:
    """Key and JSON of each golden chain."""
    return {name: {"key": one.root, "json": one.to_json().decode()} for name, one in chains().items()}


if __name__ == "__main__":
    bare_geoloom()
    if sys.argv[1:] == ["--print"]:
        sys.stdout.write(json.dumps(keys()))
    else:
        KEYS.write_text(json.dumps(keys(), indent=1, ensure_ascii=True, sort_keys=True) + "\n")
