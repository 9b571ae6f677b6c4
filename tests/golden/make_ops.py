"""The golden keys of ops: run this file to write them anew, after adding an op or giving one a new version.

    python tests/golden/make_ops.py

A key that changes without a new version makes saved chains mean something else; the contract tests say so.
"""

from __future__ import annotations

import json
from pathlib import Path

from geoloom.chain import Chain
from geoloom.op import Op, registry

OPS = Path(__file__).resolve().parent / "ops.json"


def example_chain(cls: type[Op]) -> Chain:
    """The op's example over a file, or over two where it takes any number."""
    a = Chain.extend("open", 1, {"href": "/data/a.tif", "fingerprint": None})
    b = Chain.extend("open", 1, {"href": "/data/b.tif", "fingerprint": None})
    item = Chain.extend("item", 1, {"selection": "0" * 32})
    inputs = [chain for one in cls.inputs for chain in {"images": [a, b], "sub_chain": []}.get(one.kind, [a])]
    each = item if any(one.kind == "sub_chain" for one in cls.inputs) else None
    return cls.example().chain(*inputs, each=each)


if __name__ == "__main__":
    keys = {name: {"v": cls.version, "key": example_chain(cls).root} for name, cls in registry().items()}
    OPS.write_text(json.dumps(keys, indent=1, sort_keys=True) + "\n")
