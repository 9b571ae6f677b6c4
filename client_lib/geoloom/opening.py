"""Where images come from: a file or URL, a stored chain, a chain's JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from geoloom import blobs
from geoloom.address import Address
from geoloom.answer import Texts, step
from geoloom.chain import Chain
from geoloom.derivation import profiles
from geoloom.errors import ParameterError, SourceNotFound, SourceUnreadable
from geoloom.image import Image, build, connected
from geoloom.op import Op, Profile, class_of, decode
from geoloom.ops.execute import Execute
from geoloom.ops.item import Item
from geoloom.ops.open import Open
from geoloom.ops.unpack import Unpack
from geoloom.paths import absolute, nearby, other_kind
from geoloom.selection import Selection
from geoloom.stencil import placed


def open(  # noqa: A001 - the public name, as gl.open
    href: Any, variable: str | None = None, time: Any = None, unpack: bool = False, **at: Any
) -> Image:
    """A file or URL as an image; the engine looks at it now, but reads no pixels.

    Parameters
    ----------
    href
        Path of a GeoTIFF, netCDF file or Zarr store (relative ones are taken from the current folder), or a
        URL.
    variable
        Of a netCDF file or Zarr store; `geoloom.variables` lists them. Not needed if there is just one.
    time
        Of the variable: a date (``"2020-01"`` is the one time in that month, ``"2020-01-15"`` that or the
        nearest), or a position counted from 0.
    unpack
        Give measured values where the file stores packed ones: stored × scale + offset, as it says itself.
    at
        Coordinates along other dimensions, such as ``depth=0``; the nearest one within half a step is taken.
        A dimension of up to 32 values that is left out becomes the image's bands.

    Raises
    ------
    SourceError
        If the file is missing, refused, damaged or not georeferenced.
    ParameterError
        If there is no such variable, time or coordinate, or several and none is chosen.
    """
    if "IPython" in sys.modules:
        # Loaded only where it speaks: it takes 40 ms.
        from geoloom.capture.slips import explain_slips

        explain_slips()
    op = Open(href=absolute(href))
    asked = variable is not None or time is not None or bool(at)
    path = Address.parse(op.href).href if asked else op.href
    try:
        info = connected().info(path)
    except SourceNotFound as error:
        raise SourceNotFound(error.message, hint=nearby(path) or error.hint) from None
    except SourceUnreadable as error:
        raise SourceUnreadable(error.message, hint=other_kind(path) or error.hint) from None
    if asked or "variables" in info:
        # Loaded only for such files: choosing takes dates apart.
        from geoloom.contents import choose

        op = Open(href=choose(op.href, info, variable, time, at).text)
        info = connected().info(op.href)
    image = Image(op.chain(), Profile.of_source(info), {op.href: info})
    return _unpacked(image, info["bands"]) if unpack else image


def load(key: str) -> Image:
    """The image of a stored chain.

    Raises
    ------
    NotFound
        If no chain is stored under this key.
    """
    return from_chain(connected().chain(key))


def from_json(text: str | bytes) -> Image:
    """The image of a chain's JSON, as `Image.to_json` gave it; raises CorruptChain."""
    return from_chain(blobs.from_json(text))


def from_chain(chain: Chain) -> Image:
    """The image of a chain; asks the engine what its sources hold."""
    client = connected()
    sources: dict[str, Mapping[str, Any]] = {}

    def of_source(op: Op) -> Profile:
        if isinstance(op, Item):
            table = blobs.known(op.selection) or client.blob(op.selection)
            info: Mapping[str, Any] = Selection.from_bytes(table).info()
        else:
            assert isinstance(op, Open)
            info = client.info(op.href)
        sources[op.selection if isinstance(op, Item) else op.href] = info
        return Profile.of_source(info)

    profile = profiles(chain, of_source)[chain.root]
    painted = [repr(decode(node)) for node in chain.topological() if class_of(node).painted]
    if painted and not sources:
        bounds = client.describe(chain)["bounds"]
        return placed(chain, profile, painted[0], bounds, None)
    return Image(chain, profile, sources)


def _unpacked(image: Image, bands: Sequence[Mapping[str, Any]]) -> Image:
    """Measured values, by the scale and offset that a file's bands declare."""
    declared = {(band.get("scale", 1.0), band.get("offset", 0.0)) for band in bands}
    if len(declared) > 1:
        raise ParameterError(
            "The bands are packed in different ways.", hint="Unpack each: image[name].unpack(scale, offset)."
        )
    scale, offset = declared.pop()
    return image if (scale, offset) == (1.0, 0.0) else build(Unpack(scale=scale, offset=offset), image)


def functions(image: Image) -> dict[str, str]:
    """The texts of the users' functions that an image runs, by name; others of the same name are numbered."""
    client = connected()
    found = Texts()
    for node in image.chain.topological():
        if node.op == Execute.name:
            key = str(node.params["text"])
            content = blobs.known(key) or client.blob(key)
            main, text = str(node.params["main"]), content.decode()
            names = (main if n == 1 else f"{main} ({n})" for n in count(1))
            found[next(name for name in names if found.get(name, text) == text)] = text
    return found


def trust(image: Image) -> None:
    """Let the functions of an image run as if they had been written in this notebook.

    `Image.replay` asks for it, which runs them here, and an engine that cannot lock functions in. Read them
    first: `functions`.
    """
    client = connected()
    for key in blobs.needed(image.chain):
        content = blobs.known(key) or client.blob(key)
        blobs.keep(content)
        client.put_blob(content)


def diff(a: Image, b: Image) -> str:
    """What differs between two chains, a step a line: ``-`` only in a, ``+`` only in b."""

    def lines(sign: str, chain: Chain, other: Chain) -> list[str]:
        return [f"{sign} {step(node)}" for node in chain.topological() if node.key not in other.nodes]

    found = lines("-", a.chain, b.chain) + lines("+", b.chain, a.chain)
    return "\n".join(found) or "The chains are equal."
