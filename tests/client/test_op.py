from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloom import op as module
from geoloom.block import Block
from geoloom.chain import Chain, Node
from geoloom.derivation import profiles
from geoloom.errors import BandError, GeoloomError, ParameterError, UnknownOp
from geoloom.grid import Grid, Tile
from geoloom.op import (
    Band,
    Image,
    Images,
    Number,
    Op,
    Output,
    Profile,
    SubChain,
    band,
    decode,
    image,
    images,
    op,
    param,
    registry,
    sub_chain,
)

SELECTION = "0123456789abcdef" * 2
GRID = Grid(Tile(9, 280, 180).grid().lattice, 100, 200, 6, 5)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Ops declared by a test leave the registry with it."""
    registry()
    kept = {name: dict(versions) for name, versions in module._REGISTRY.items()}
    yield
    module._REGISTRY.clear()
    module._REGISTRY.update(kept)


def tilt() -> type[Op]:
    @op
    class TiltOfTest(Op):
        """Height difference of the neighbours."""

        elevation: Band = band(unit="m", doc="Surface height.")
        weights: Image = image(doc="Weights.")
        z_factor: float = param(1.0, gt=0, unit="1", doc="Exaggeration.")
        names: tuple[str, ...] = param((), doc="Names.", variadic=True)
        limit: Number | None = param(None, unit="m", doc="Limit.")
        margin = 1
        output = Output(bands=1, dtype="float32", unit="degree", range=(0, 90))

        def kernel(self, elevation: Block, weights: Block, grid: Grid) -> Any:
            return np.abs(elevation.data[0, 2:, 1:-1] - elevation.data[0, :-2, 1:-1]).astype(np.float32)

    return TiltOfTest


def node(name: str = "tilt_of_test", v: int = 1, inputs: int = 2, **params: Any) -> Node:
    given = {"z_factor": 1.0, "names": [], "limit": None, **params}
    return Node(name, v, given, tuple(f"{i:032x}" for i in range(inputs)))


# declaring -------------------------------------------------------------------------------------


def test_what_a_declaration_says() -> None:
    cls = tilt()
    assert cls.name == "tilt_of_test"
    assert [(one.name, one.kind, one.unit) for one in cls.inputs] == [
        ("elevation", "band", "m"),
        ("weights", "image", None),
    ]
    assert [one.name for one in cls.parameters] == ["z_factor", "names", "limit"]
    assert registry()["tilt_of_test"] is cls


def test_the_signature_of_the_method() -> None:
    assert str(tilt().signature()) == "(self, weights, z_factor=1.0, *names, limit=None)"
    assert inspect.signature(tilt().signature) is not None


def test_the_docstring_of_the_method() -> None:
    text = tilt().reference()
    assert text.startswith("Height difference of the neighbours.")
    assert "z_factor : float, default 1.0\n    Exaggeration. Unit: 1." in text
    assert "weights\n    Weights." in text


def test_a_number_for_any_number_of_images() -> None:
    @op
    class SumOfTest(Op):
        """A sum."""

        first: Image = image(doc="First.")
        others: Images = images(doc="Others.")
        scale: float = param(1.0, unit="1", doc="Factor.")

    assert str(SumOfTest.signature()) == "(self, *others, scale=1.0)"


def test_the_first_letter_of_each_word_makes_the_name() -> None:
    assert registry()["normalized_difference"].__name__ == "NormalizedDifference"

    @op(name="in")
    class IsIn(Op):
        """In."""

    assert IsIn.name == "in"


def test_two_ops_of_one_name() -> None:
    tilt()

    with pytest.raises(TypeError, match="two ops are called 'slope' version 1"):

        @op
        class Slope(Op):
            """Another."""


def test_the_newest_version_is_the_one_in_the_registry() -> None:
    tilt()

    @op(name="tilt_of_test")
    class TiltTwo(Op):
        """Newer."""

        version = 2

    assert registry()["tilt_of_test"] is TiltTwo
    assert decode(node()).version == 1
    assert decode(Node("tilt_of_test", 2, {})).version == 2


def test_ops_are_immutable_and_equal_by_value() -> None:
    cls = tilt()
    one = cls(z_factor=2)
    assert one == cls(z_factor=2.0)
    assert hash(one) == hash(cls(z_factor=2.0))
    assert one != cls()
    with pytest.raises(AttributeError, match="immutable"):
        one.z_factor = 3
    constant = registry()["constant"]
    assert constant(value=1) != constant(value=1.0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"z_factr": 1},
            "tilt_of_test() has no parameter 'z_factr'. Its parameters are: z_factor, names, limit.",
        ),
        ({"self": 1}, "has no parameter 'self'"),
        ({"z_factor": 0}, "tilt_of_test(z_factor=…) must be greater than 0, got 0.0"),
        ({"names": "ab"}, "must be a list"),
        ({"elevation": 1}, "has no parameter 'elevation'"),
    ],
)
def test_wrong_parameters(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        tilt()(**values)
    assert words in str(caught.value)


def test_a_missing_parameter_is_explained() -> None:
    with pytest.raises(ParameterError, match=r"constant\(\) needs value: The number\."):
        registry()["constant"]()


# decoding --------------------------------------------------------------------------------------


def test_decoding_what_was_encoded() -> None:
    cls = tilt()
    chain = cls(z_factor=3, names=("a", "b"), limit=5).chain(leaf(), leaf(2))
    read = Chain.from_json(chain.to_json())
    found = decode(read.node)
    assert found == cls(z_factor=3.0, names=["a", "b"], limit=5)
    assert found.chain(leaf(), leaf(2)) == chain


def leaf(value: int | float = 1) -> Chain:
    return registry()["constant"](value=value).chain()


@pytest.mark.parametrize(
    "params",
    [
        {"z_factor": 1},
        {"z_factor": True},
        {"names": None},
        {"limit": -1.5, "z_factor": 2},
        {"names": [1]},
        {"more": 1},
    ],
    ids=repr,
)
def test_parameters_that_are_not_canonical(params: dict[str, Any]) -> None:
    tilt()
    with pytest.raises(ParameterError) as caught:
        decode(node(**params))
    assert caught.value.node == node(**params).key
    assert caught.value.op == "tilt_of_test"


def test_a_default_left_out_is_not_canonical() -> None:
    tilt()
    with pytest.raises(ParameterError, match="not in canonical form"):
        decode(Node("tilt_of_test", 1, {"z_factor": 1.0, "names": []}, ("0" * 32,) * 2))


@pytest.mark.parametrize(
    "params", [{"self": 1}, {"cls": 1}, {"": 1}, {"a" * 100_000: 1}, {"é\x00": 1}, {"kernel": 1}]
)
def test_hostile_parameter_names(params: dict[str, Any]) -> None:
    tilt()
    with pytest.raises(ParameterError) as caught:
        decode(node(**params) if "self" not in params else Node("constant", 1, {"self": 1, "value": 1}))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("count", [0, 1, 3, 100])
def test_wrong_input_counts(count: int) -> None:
    tilt()
    with pytest.raises(ParameterError, match=f"tilt_of_test takes 2 inputs, not {count}"):
        decode(node(inputs=count))


def test_any_number_of_images_needs_the_named_ones() -> None:
    assert decode(Node("stack", 1, {}, ("0" * 32,) * 5)).name == "stack"
    with pytest.raises(ParameterError, match="or more inputs, not 0"):
        decode(Node("stack", 1, {}))


def test_a_sub_chain_where_none_belongs() -> None:
    tilt()
    with pytest.raises(ParameterError, match="sub-chain"):
        decode(
            Node("tilt_of_test", 1, {"z_factor": 1.0, "names": [], "limit": None}, ("0" * 32,) * 2, "1" * 32)
        )


def test_an_op_with_a_sub_chain() -> None:
    @op
    class EachOfTest(Op):
        """The first of all items."""

        each: SubChain = sub_chain(doc="What to do with each item.")
        selection: str = param(doc="Which items.", example="x")

    item = registry()["item"](selection=SELECTION).chain()
    chain = EachOfTest(selection="s").chain(each=item)
    read = Chain.from_json(chain.to_json())
    assert decode(read.node) == EachOfTest(selection="s")
    assert read.node.each == item.root
    assert decode(read.nodes[item.root]).selection == SELECTION
    with pytest.raises(ParameterError, match="sub-chain"):
        decode(EachOfTest(selection="s").chain().node)


@pytest.mark.parametrize("key", ["", "xyz", SELECTION.upper(), None, 1])
def test_a_selection_is_named_by_key(key: Any) -> None:
    with pytest.raises(ParameterError):
        decode(Node("item", 1, {"selection": key}))


def test_unknown_ops_and_versions() -> None:
    with pytest.raises(UnknownOp, match="There is no op 'teleport'"):
        decode(Node("teleport", 1, {}))
    with pytest.raises(UnknownOp, match=r"The op slope has no version 99 here \(it has: 1\)"):
        decode(Node("slope", 99, {"z_factor": 1.0}, ("0" * 32,)))


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_any_verified_chain_is_decoded_or_refused(data: st.DataObject) -> None:
    """No parameters, however odd, crash an op: they come from outside."""
    name = data.draw(st.sampled_from(sorted(registry())))
    cls = registry()[name]
    params = dict(cls.example().params())
    for one in data.draw(st.lists(st.sampled_from([*params, "more"]), max_size=2)):
        params[one] = data.draw(junk)
    inputs = tuple("0" * 32 for _ in range(data.draw(st.integers(0, 3))))
    try:
        node = Node(name, cls.version, params, inputs)
        found = decode(node)
    except GeoloomError:
        return
    assert Node(name, cls.version, found.params(), inputs).key == node.key


# profiles --------------------------------------------------------------------------------------


def test_profiles_of_a_chain() -> None:
    source = registry()["open"](href="/data/dem.tif").chain()
    chain = registry()["slope"]().chain(source)
    found = profiles(chain, lambda one: Profile(("height",), "int16", unit="m"))
    assert found[source.root].unit == "m"
    assert found[chain.root].unit == "degree"
    assert found[chain.root].dtype == "float32"


def test_what_is_wrong_names_the_node() -> None:
    source = registry()["open"](href="/data/rgb.tif").chain()
    chain = registry()["slope"]().chain(source)
    with pytest.raises(BandError) as caught:
        profiles(chain, lambda one: Profile(("r", "g", "b"), "uint8"))
    assert caught.value.node == chain.root
    assert caught.value.op == "slope"
    assert "r, g, b" in str(caught.value)


@given(st.data())
def test_any_graph_of_ops_has_profiles_or_is_refused(data: st.DataObject) -> None:
    """No combination of ops and bands, however odd, crashes what the engine asks first."""
    ops = [cls for cls in registry().values() if cls.name != "item"]
    dtypes = st.sampled_from(["bool", "uint8", "int16", "uint32", "int64", "uint64", "float32", "float64"])
    given_names = st.lists(st.sampled_from(["b1", "b2", "red", "ndvi"]), min_size=1, max_size=4, unique=True)
    known: dict[Any, Profile] = {}
    made: list[Chain] = []
    for i in range(data.draw(st.integers(1, 3))):
        source = registry()["open"](href=f"/data/{i}.tif")
        known[source] = Profile(tuple(data.draw(given_names)), data.draw(dtypes))
        made.append(source.chain())
    for _ in range(data.draw(st.integers(1, 6))):
        cls = data.draw(st.sampled_from(ops))
        if cls.source:
            continue
        count = sum(one.kind != "images" for one in cls.inputs)
        inputs = tuple(data.draw(st.sampled_from(made)) for _ in range(count))
        made.append(cls.example().chain(*inputs))
    found: dict[str, Profile] = {}
    refused = None
    try:
        found = profiles(made[-1], known.__getitem__)
    except GeoloomError as error:
        refused = error
    assert refused is None or refused.op == made[-1].nodes[str(refused.node)].op
    for one in found.values():
        assert np.dtype(one.dtype).kind in "biuf"
        assert one.bands >= 1


def test_a_chain_of_exponentially_many_bands_is_refused_at_once() -> None:
    source = registry()["open"](href="/data/rgb.tif").chain()
    chain = source
    for _ in range(200):
        chain = registry()["stack"]().chain(chain, chain)
    with pytest.raises(BandError, match="take or give 1,536 bands; at most 1,000"):
        profiles(chain, lambda one: Profile(("r", "g", "b"), "uint8"))
    wide = registry()["stack"]().chain(*(source,) * 4000)
    with pytest.raises(BandError, match="12,000 bands; at most 10,000"):
        profiles(wide, lambda one: Profile(("r", "g", "b"), "uint8"))


# computing -------------------------------------------------------------------------------------


def test_compute_keeps_the_promises_of_a_block() -> None:
    around = GRID.expand(1)
    data = np.arange(around.rows * around.cols, dtype=np.float64).reshape(1, *around.shape)
    valid = np.ones((1, *around.shape), np.bool_)
    valid[0, 3, 3] = False
    weights = Block(np.ones((1, 1, 1)), np.ones((1, 1, 1), np.bool_))
    found = tilt()().compute((Block(data, valid), weights), GRID)
    assert found.data.shape == (1, *GRID.shape)
    assert found.data.dtype == np.float32
    assert found.valid.sum() == GRID.rows * GRID.cols - 9
    assert (found.data[~found.valid] == 0).all()
    assert (found.data[found.valid] == 2 * around.cols).all()


def test_numbers_alone_have_a_margin_too() -> None:
    number = Block(np.ones((1, 1, 1)), np.ones((1, 1, 1), np.bool_))
    found = tilt()().compute((number, number), GRID)
    assert found.data.shape == (1, *GRID.shape)
    assert found.valid.all()


def test_kernels_run_in_silence(recwarn: pytest.WarningsRecorder) -> None:
    zero = Block(np.zeros((1, 2, 2), np.float32), np.ones((1, 2, 2), np.bool_))
    found = registry()["log"]().compute((zero,), Grid(GRID.lattice, 0, 0, 2, 2))
    assert not found.valid.any()
    assert not recwarn.list


def test_margins_may_depend_on_the_grid() -> None:
    @op
    class ReachOfTest(Op):
        """Reaches as far as the grid has rows."""

        values: Image = image(doc="The image.")

        def margin(self, grid: Grid) -> int:
            return grid.rows

    assert ReachOfTest().margin_on(GRID) == GRID.rows
    assert tilt()().margin_on(GRID) == 1


def test_examples_build() -> None:
    for cls in registry().values():
        assert isinstance(cls.example(), cls)
