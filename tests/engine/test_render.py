"""Every PNG is decoded twice: by Pillow, and by a decoder written here from the specification."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import geoloom.colour as colour
import geoloom.paint as paint
from geoloom.block import Block
from geoloom.errors import ImageUseError
from geoloom.profile import Look
from geoloom_engine.render import png, transparent

VIRIDIS = colour.lut(colour.ramp("viridis"))
BANDS = {"grey": 1, "palette": 1, "rgb": 3, "rgba": 4}


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, place = [], 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        name, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, place + 8 + length)
        assert checksum == zlib.crc32(name + content)
        found.append((name, content))
        place += 12 + length
    assert found[0][0] == b"IHDR"
    assert found[-1] == (b"IEND", b"")
    return found


def colour_type(data: bytes) -> int:
    return chunks(data)[0][1][9]


def decoded(data: bytes) -> np.ndarray:
    """RGBA (4, rows, cols) after https://www.w3.org/TR/png-3/, filters None, Sub and Average."""
    parts = dict(chunks(data))
    cols, rows, depth, kind, _, _, interlace = struct.unpack(">IIBBBBB", parts[b"IHDR"])
    assert interlace == 0
    step = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    width = (cols * depth + 7) // 8 if depth < 8 else cols * step
    lines = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(rows, 1 + width)
    values = np.empty((rows, width), np.uint8)
    for row, line in enumerate(lines):
        assert line[0] in (0, 1, 3)
        values[row] = line[1:]
        if line[0] == 3:
            before = [0] * step
            above = values[row - 1].tolist()
            for place, byte in enumerate(line[1:].tolist()):
                before.append((byte + (before[place] + above[place]) // 2) % 256)
            values[row] = before[step:]
        if line[0] == 1:
            pixels = line[1:].reshape(-1, step)
            values[row] = np.cumsum(pixels, axis=0, dtype=np.uint8).ravel()
    if depth == 1:
        values = np.unpackbits(values, axis=1)[:, :cols]
    pixels = values.reshape(rows, cols, step).transpose(2, 0, 1)
    mark = parts.get(b"tRNS", b"")
    out = np.full((4, rows, cols), 255, np.uint8)
    if kind == 3:
        table = np.full((256, 4), 255, np.uint8)
        entries = np.frombuffer(parts[b"PLTE"], np.uint8).reshape(-1, 3)
        assert pixels.max() < len(entries)
        table[: len(entries), :3] = entries
        table[: len(mark), 3] = list(mark)
        return table[pixels[0]].transpose(2, 0, 1)
    if kind in (0, 4):
        out[:3] = pixels[0]
    else:
        out[:3] = pixels[:3]
    if kind in (4, 6):
        out[3] = pixels[-1]
    elif mark:
        key = np.array(struct.unpack(f">{len(mark) // 2}H", mark), np.uint8)
        out[3] = np.where((pixels == key[:, None, None]).all(axis=0), 0, 255)
    return out


def assert_shows(block: Block, look: Look, data: bytes) -> None:
    """Both decoders see exactly what painting gives; invisible pixels may have any colour."""
    want = paint.rgba(block.data, block.valid, look)
    pillow = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")).transpose(2, 0, 1)
    for got in (decoded(data), pillow):
        np.testing.assert_array_equal(got[3], want[3])
        np.testing.assert_array_equal(got[:3] * (got[3] > 0), want[:3] * (want[3] > 0))


def full(*shape: int) -> np.ndarray:
    return np.ones(shape, np.bool_)


@st.composite
def styled(draw: st.DrawFn) -> tuple[Block, Look]:
    kind = draw(st.sampled_from(sorted(BANDS)))
    rows, cols = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    top = draw(st.sampled_from([1, 3, 17, 255, 256]))
    data = rng.integers(draw(st.sampled_from([0, top - 1])), top, (BANDS[kind], rows, cols)).astype(np.uint8)
    share = draw(st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]))
    masks = draw(st.sampled_from([1, BANDS[kind]]))
    valid = rng.random((masks, rows, cols)) < share
    lut: tuple[str, ...] = ()
    if kind == "palette":
        size = draw(st.sampled_from([1, 2, 16, 17, 255, 256]))
        lut = tuple("#" + bytes(entry).hex() for entry in rng.integers(0, 256, (size, 4), np.uint8))
    labels = (("one", "#00000000"),) if lut and draw(st.booleans()) else ()
    opacity = draw(st.sampled_from([1.0, 0.5, 0.003, 0.0]))
    return Block(data, valid), Look(kind, lut=lut, labels=labels, opacity=opacity)


@settings(max_examples=300, deadline=None)
@given(styled())
def test_decoded_pixels_equal_what_was_painted(case: tuple[Block, Look]) -> None:
    block, look = case
    assert_shows(block, look, png(block, look))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (256, 256), (512, 512), (3, 500)])
@pytest.mark.parametrize("kind", sorted(BANDS))
@pytest.mark.parametrize("holes", [False, True])
def test_sizes(size: tuple[int, int], kind: str, holes: bool) -> None:
    rng = np.random.default_rng(5)
    data = rng.integers(0, 255, (BANDS[kind], *size)).astype(np.uint8)
    valid = rng.random((1, *size)) < 0.7 if holes else full(1, *size)
    look = Look(kind, lut=VIRIDIS if kind == "palette" else ())
    assert_shows(Block(data, valid), look, png(Block(data, valid), look))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(BANDS)),
    st.tuples(st.integers(30, 150), st.integers(60, 150)),
    st.sampled_from([1.0, 0.9, 0.3]),
    st.sampled_from(["noise", "smooth", "steps", "stripes", "flat"]),
    st.integers(0, 2**32),
)
def test_pictures_of_all_kinds(
    kind: str, size: tuple[int, int], share: float, content: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[: size[0], : size[1]]
    fields = {
        "noise": rng.integers(0, 256, (4, *size)),
        "smooth": (rows + cols + rng.normal(0, 2, (4, *size))) / 2,
        "steps": rng.integers(0, 256, (4, 30, 30))[:, rows // 6, cols // 6],
        "stripes": np.broadcast_to(rows * 37, (4, *size)),
        "flat": np.full((4, *size), seed % 256),
    }
    data = fields[content][: BANDS[kind]].astype(np.int64).astype(np.uint8)
    if kind == "palette":
        data = data % 255
    valid = rng.random((1, *size)) < share
    look = Look(kind, lut=VIRIDIS if kind == "palette" else ())
    assert_shows(Block(data, valid), look, png(Block(data, valid), look))


def test_validity_that_stands_for_all_pixels() -> None:
    data = np.random.default_rng(7).integers(0, 255, (1, 100, 120)).astype(np.uint8)
    everywhere = np.broadcast_to(np.ones((1, 1, 1), np.bool_), (1, 100, 120))
    look = Look("palette", lut=VIRIDIS)
    assert png(Block(data, everywhere), look) == png(Block(data, full(1, 100, 120)), look)
    assert png(Block(data, ~everywhere), look) == transparent(120, 100)


def test_alpha_that_only_hides_takes_no_band() -> None:
    data = np.random.default_rng(8).integers(1, 255, (4, 100, 120)).astype(np.uint8)
    data[3] = np.where(data[0] > 100, 255, 0)
    data[:3, data[3] == 0] = 0
    block = Block(data, full(1, 100, 120))
    assert colour_type(png(block, Look("rgba"))) == 2
    assert_shows(block, Look("rgba"), png(block, Look("rgba")))


def test_the_smallest_format_that_holds_the_pixels() -> None:
    data = np.arange(1, 65, dtype=np.uint8).reshape(1, 8, 8)
    some = full(1, 8, 8)
    some[0, 0] = False
    grey, rgb = Look("grey"), Look("rgb")
    assert colour_type(png(Block(data, full(1, 8, 8)), grey)) == 0
    assert colour_type(png(Block(data * some, some), grey)) == 0, "0 marks the holes"
    without_zero_free = data.copy()
    without_zero_free[0, 7, 7] = 0
    assert colour_type(png(Block(without_zero_free, some), grey)) == 0, "255 marks the holes"
    without_zero_free[0, 7, 6] = 255
    assert colour_type(png(Block(without_zero_free, some), grey)) == 4
    colours = np.repeat(data, 3, axis=0)
    assert colour_type(png(Block(colours, full(1, 8, 8)), rgb)) == 2
    assert colour_type(png(Block(colours * some, some), rgb)) == 2, "black marks the holes"
    colours[:, 7, 7] = 0
    assert colour_type(png(Block(colours, some), rgb)) == 6
    assert colour_type(png(Block(data, some), Look("palette", lut=VIRIDIS))) == 3
    opaque = np.concatenate([colours, np.full((1, 8, 8), 255, np.uint8)])
    assert colour_type(png(Block(opaque, full(1, 8, 8)), Look("rgba"))) == 2


def test_a_palette_of_256_colours_keeps_all_of_them() -> None:
    lut = colour.lut(["red", "lime", "blue"], 256)
    data = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    data = np.concatenate([data, data], axis=2)
    valid = full(1, 16, 32)
    valid[0, :, 20] = False
    for block in (Block(data, valid), Block(np.minimum(data, 250), valid), Block(data, full(1, 16, 32))):
        assert_shows(block, Look("palette", lut=lut), png(block, Look("palette", lut=lut)))


def test_indices_beyond_the_palette_are_transparent() -> None:
    block = Block(np.array([[[0, 1, 2, 255]]], np.uint8), full(1, 1, 4))
    look = Look("palette", lut=("#ff0000ff", "#00ff00ff"))
    assert decoded(png(block, look))[3].tolist() == [[255, 255, 0, 0]]


def test_nothing_valid_is_one_small_picture_per_size() -> None:
    block = Block.empty(3, 256, 256, np.uint8)
    first = png(block, Look("rgb"))
    assert first is png(Block.empty(1, 256, 256, np.uint8), Look("palette", lut=VIRIDIS))
    assert first is transparent(256, 256)
    assert len(first) < 200
    assert not decoded(first)[3].any()
    assert not decoded(transparent(13, 5))[3].any()


def test_broadcasting_validity_and_pixels() -> None:
    block = Block(np.arange(12, dtype=np.uint8).reshape(1, 3, 4), full(1, 1, 1))
    assert decoded(png(block, Look("grey"))).shape == (4, 3, 4)
    one = Block(np.array([[[7]]], np.uint8), full(1, 1, 1)).fill(3, 4)
    assert (decoded(png(one, Look("grey")))[0] == 7).all()


@pytest.mark.parametrize(("bands", "kind"), [(1, "grey"), (3, "rgb"), (4, "rgba")])
def test_bytes_without_a_look_are_colours(bands: int, kind: str) -> None:
    data = np.random.default_rng(1).integers(0, 256, (bands, 9, 9)).astype(np.uint8)
    block = Block(data, full(1, 9, 9))
    assert_shows(block, Look(kind), png(block, None))


def test_truth_without_a_look_is_black_and_white() -> None:
    data = np.array([[[True, False, True]]])
    got = decoded(png(Block(data, np.array([[[True, True, False]]])), None))
    assert got[:, 0, :].T.tolist() == [[255, 255, 255, 255], [0, 0, 0, 255], [0, 0, 0, 0]]


@pytest.mark.parametrize(("dtype", "bands"), [("float32", 1), ("uint8", 2), ("int16", 3), ("bool", 2)])
def test_other_values_need_a_look(dtype: str, bands: int) -> None:
    with pytest.raises(ImageUseError, match=f"{dtype}.*{bands} band"):
        png(Block(np.zeros((bands, 4, 4), dtype), full(1, 4, 4)), None)


@pytest.mark.parametrize(
    ("look", "data"),
    [
        (Look("rgb"), np.zeros((1, 2, 2), np.uint8)),
        (Look("grey"), np.zeros((1, 2, 2), np.int16)),
        (Look("palette", lut=("#00000000",) * 257), np.zeros((1, 2, 2), np.uint8)),
    ],
)
def test_data_that_are_not_what_the_look_says(look: Look, data: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"look needs|at most 256"):
        png(Block(data, full(1, 2, 2)), look)


def test_what_is_given_stays_as_it_is() -> None:
    data = np.random.default_rng(1).integers(0, 256, (3, 9, 9)).astype(np.uint8)
    valid = data[:1] > 30
    data.setflags(write=False)
    valid.setflags(write=False)
    for look in (Look("rgb"), Look("rgb", opacity=0.5)):
        assert png(Block(data, valid), look) == png(Block(data, valid), look)
