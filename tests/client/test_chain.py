from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloom.chain import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NESTING,
    MAX_NODES,
    Chain,
    Node,
    canonical,
    is_key,
    key_of,
)
from geoloom.errors import ChainTooLarge, CorruptChain, GeoloomError, ParameterError

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
MAKER = GOLDEN / "make_keys.py"
SELECTION = "0123456789abcdef" * 2

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
floats = st.floats(allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | floats | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4), max_leaves=8)
params = st.dictionaries(texts, values, max_size=3)
names = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True)


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    """A random graph: every node reads some earlier ones, and may have one of them as its sub-chain."""
    made = [Chain.extend(draw(names), 1, draw(params))]
    for _ in range(draw(st.integers(0, 6))):
        inputs = tuple(draw(st.lists(st.sampled_from(made), max_size=3)))
        each = draw(st.none() | st.sampled_from(made))
        made.append(Chain.extend(draw(names), draw(st.integers(1, 9)), draw(params), inputs, each))
    return made[-1]


def constant(value: Any = 1) -> Chain:
    return Chain.extend("constant", 1, {"value": value})


def line(depth: int) -> Chain:
    chain = constant()
    for _ in range(depth - 1):
        chain = Chain.extend("abs", 1, {}, (chain,))
    return chain


def forged(payload: object) -> bytes:
    """Canonical JSON of any payload."""
    return canonical(payload)


def chain_of(entry: dict[str, Any], *others: Chain) -> bytes:
    """A chain whose root is any entry, under the name it hashes to."""
    key = key_of(canonical(entry))
    nodes = {name: node.to_dict() for chain in others for name, node in chain.nodes.items()}
    return forged({"geoloom": 1, "nodes": {**nodes, key: entry}, "root": key})


def entry(**changed: Any) -> dict[str, Any]:
    return {"op": "constant", "v": 1, "params": {"value": 1}, "inputs": [], **changed}


# keys ------------------------------------------------------------------------------------------


def test_a_key_is_the_hash_of_the_nodes_canonical_json() -> None:
    text = b'{"inputs":[],"op":"constant","params":{"value":1},"v":1}'
    assert constant().root == hashlib.sha256(text).hexdigest()[:32]


def test_a_chains_json_is_canonical() -> None:
    chain = constant(0.5)
    assert chain.to_json() == (
        b'{"geoloom":1,"nodes":{"%(key)s":{"inputs":[],"op":"constant","params":{"value":0.5},"v":1}},'
        b'"root":"%(key)s"}' % {b"key": chain.root.encode()}
    )


@given(chains())
def test_round_trip(chain: Chain) -> None:
    read = Chain.from_json(chain.to_json(), chain.root)
    assert read == chain
    assert read.to_json() == chain.to_json()
    assert read.depth == chain.depth
    assert dict(read.nodes) == dict(chain.nodes)


@given(chains(), chains())
def test_equal_exactly_where_the_key_is_equal(a: Chain, b: Chain) -> None:
    assert (a == b) == (a.root == b.root) == (a.to_json() == b.to_json())
    assert (a.node == b.node) == (a.node.key == b.node.key)
    if a == b:
        assert hash(a) == hash(b)


@given(params, params)
def test_two_meanings_never_share_a_key(a: dict[str, Any], b: dict[str, Any]) -> None:
    def meaning(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: meaning(item) for name, item in value.items()}
        return [meaning(item) for item in value] if isinstance(value, list) else (type(value), value)

    same = meaning(a) == meaning(b)
    assert (Node("f", 1, a).key == Node("f", 1, b).key) == same


@pytest.mark.parametrize(
    ("a", "b"), [(1, 1.0), (1, True), (0, False), (0, 0.0), ("1", 1), (None, "null"), ([], ""), ([1], 1)]
)
def test_values_of_different_type_have_different_keys(a: Any, b: Any) -> None:
    assert constant(a) != constant(b)
    assert constant(a).node != constant(b).node


def test_the_order_of_parameters_does_not_matter_the_order_of_inputs_does() -> None:
    a, b = constant(1), constant(2)
    assert Node("f", 1, {"x": 1, "y": 2}) == Node("f", 1, {"y": 2, "x": 1})
    assert Chain.extend("f", 1, {}, (a, b)) != Chain.extend("f", 1, {}, (b, a))


def test_a_sub_chain_is_not_an_input() -> None:
    a, b = constant(1), constant(2)
    both = Chain.extend("f", 1, {}, (a, b))
    assert both != Chain.extend("f", 1, {}, (a,), b)


def test_a_node_stays_what_its_key_says() -> None:
    positions = [1, [2, 3]]
    chain = Chain.extend("f", 1, {"positions": positions})
    before = chain.to_json()
    positions.append(4)
    positions[1].append(5)  # type: ignore[attr-defined]
    assert chain.to_json() == before
    with pytest.raises(TypeError):
        chain.node.params["positions"] = []  # type: ignore[index]
    with pytest.raises(AttributeError):
        chain.node.params["positions"].append(4)
    assert Chain.from_json(before).node.params == chain.node.params


# golden keys -----------------------------------------------------------------------------------


def golden() -> dict[str, dict[str, str]]:
    return json.loads((GOLDEN / "keys.json").read_text())


@pytest.mark.parametrize("name", golden())
def test_golden_chains_still_verify(name: str) -> None:
    chain = Chain.from_json(golden()[name]["json"], golden()[name]["key"])
    for node in chain.topological():
        assert is_key(node.key)
        assert chain.at(node.key).to_json() == Chain.from_json(chain.at(node.key).to_json()).to_json()


def made_by(python: str, hash_seed: str) -> dict[str, dict[str, str]]:
    done = subprocess.run(
        [python, "-S", "-E" if hash_seed == "random" else "-B", str(MAKER), "--print"],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("hash_seed", ["0", "1", "4294967295", "random"])
def test_golden_keys_in_another_process_with_another_hash_seed(hash_seed: str) -> None:
    assert made_by(sys.executable, hash_seed) == golden()


def other_pythons() -> list[str]:
    """Other Pythons ≥ 3.12 on this machine: on the PATH and among pyenv's."""
    own = sys.version_info[:2]
    versions = [f"3.{minor}" for minor in range(12, 16) if (3, minor) != own]
    found = [shutil.which(f"python{version}") for version in versions]
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for version in versions:
        found += [str(one) for one in sorted(root.glob(f"versions/{version}*/bin/python{version}"))]
    return [one for one in found if one is not None and runs(one)]


def runs(python: str) -> bool:
    try:
        return subprocess.run([python, "-c", ""], capture_output=True, timeout=30).returncode == 0
    except OSError:
        return False


def test_golden_keys_in_another_python() -> None:
    pythons = other_pythons()
    if not pythons:
        pytest.skip("no other Python ≥ 3.12 on this machine")
    for python in pythons:
        assert made_by(python, "7") == golden(), python


# what is refused -------------------------------------------------------------------------------


@given(chains(), st.data())
def test_any_changed_byte_is_refused(chain: Chain, data: st.DataObject) -> None:
    raw = bytearray(chain.to_json())
    at = data.draw(st.integers(0, len(raw) - 1))
    byte = data.draw(st.integers(0, 255))
    how = data.draw(st.sampled_from(["flip", "insert", "delete", "cut", "repeat"]))
    if how == "flip":
        raw[at] = byte
    elif how == "insert":
        raw.insert(at, byte)
    elif how == "delete":
        del raw[at]
    elif how == "cut":
        del raw[at:]
    else:
        raw += raw[at:]
    if bytes(raw) == chain.to_json():
        return
    with pytest.raises(CorruptChain):
        Chain.from_json(bytes(raw))


def test_any_flipped_or_missing_bit_is_refused() -> None:
    raw = Chain.extend("f", 1, {"a": 1.5, "b": ["é", None]}, (constant(),)).to_json()
    for at in range(len(raw)):
        for bit in range(8):
            changed = raw[:at] + bytes([raw[at] ^ (1 << bit)]) + raw[at + 1 :]
            with pytest.raises(CorruptChain):
                Chain.from_json(changed)
        with pytest.raises(CorruptChain):
            Chain.from_json(raw[:at] + raw[at + 1 :])


def respelt() -> dict[str, bytes]:
    """Texts that mean the same to a JSON reader and are still no canonical chain."""
    chain = Chain.extend("f", 1, {"a": 1, "b": "é", "c": 0.1}, (constant(), constant(2)))
    raw = chain.to_json()
    payload = json.loads(raw)
    backwards = {name: payload[name] for name in reversed(payload)}
    return {
        "spaces": json.dumps(payload, sort_keys=True, ensure_ascii=False).encode(),
        "newline at the end": raw + b"\n",
        "space before": b" " + raw,
        "byte order mark": b"\xef\xbb\xbf" + raw,
        "key order": json.dumps(backwards, separators=(",", ":"), ensure_ascii=False).encode(),
        "unicode escape": raw.replace("é".encode(), b"\\u00e9"),
        "needless escape": raw.replace(b'"op":"f"', b'"\\u006fp":"f"'),
        "float with exponent": raw.replace(b"0.1", b"1e-1"),
        "float with zero": raw.replace(b"0.1", b"0.10"),
        "float too precise": raw.replace(b"0.1", b"0.1000000000000000055"),
        "int as float": raw.replace(b'"a":1', b'"a":1.0'),
        "int as bool": raw.replace(b'"a":1', b'"a":true'),
        "minus zero": raw.replace(b'"a":1', b'"a":-0'),
        "version as float": raw.replace(b'"v":1', b'"v":1.0'),
        "version as bool": raw.replace(b'"v":1', b'"v":true'),
        "format as float": raw.replace(b'"geoloom":1', b'"geoloom":1.0'),
        "format as bool": raw.replace(b'"geoloom":1', b'"geoloom":true'),
        "name twice": raw.replace(b'{"a":1', b'{"a":1,"a":1'),
        "name twice, first wins": raw.replace(b'{"a":1', b'{"a":2,"a":1'),
        "key in capitals": raw.replace(chain.root.encode(), chain.root.upper().encode()),
        "root twice": raw[:-1] + b',"root":"' + chain.root.encode() + b'"}',
        "utf-16": raw.decode().encode("utf-16"),
        "latin-1": raw.decode().encode("latin-1"),
    }


@pytest.mark.parametrize("how", respelt())
def test_the_same_json_spelt_otherwise_is_refused(how: str) -> None:
    with pytest.raises(CorruptChain):
        Chain.from_json(respelt()[how])


def hostile() -> dict[str, bytes]:
    root = b'"root":"' + b"0" * 32 + b'"}'
    key = constant().root
    return {
        "empty": b"",
        "null": b"null",
        "list": b"[]",
        "no nodes": b'{"geoloom":1,"nodes":{},' + root,
        "no root": b'{"geoloom":1,"nodes":{}}',
        "nodes as list": b'{"geoloom":1,"nodes":[],' + root,
        "more than a chain": canonical({**json.loads(constant().to_json()), "more": 1}),
        "newer format": constant().to_json().replace(b'"geoloom":1', b'"geoloom":2'),
        "format deeply nested": b'{"geoloom":' + b"[" * 20_000 + b"]" * 20_000 + b',"nodes":{},' + root,
        "format nested just so": b'{"geoloom":' + b"[" * 900 + b"]" * 900 + b',"nodes":{},' + root,
        "million brackets": b"[" * 1_000_000,
        "million objects": b'{"":' * 250_000,
        "huge float": chain_of(entry(params={"value": 0.5})).replace(b"0.5", b"1e999"),
        "NaN": chain_of(entry(params={"value": 0.5})).replace(b"0.5", b"NaN"),
        "Infinity": chain_of(entry(params={"value": 0.5})).replace(b"0.5", b"-Infinity"),
        "huge int": chain_of(entry(params={"value": 0})).replace(b'"value":0', b'"value":' + b"9" * 100_000),
        "minus zero": chain_of(entry(params={"value": -0.0})),
        "lone surrogate in a value": constant("x").to_json().replace(b'"x"', b'"\\ud800"'),
        "lone surrogate as node": b'{"geoloom":1,"nodes":{"\\ud800":{}},' + root,
        "invalid utf-8": constant("x").to_json().replace(b"x", b"\xff"),
        "overlong utf-8": constant("x").to_json().replace(b"x", b"\xc0\xaf"),
        "raw control character": constant("x").to_json().replace(b'"x"', b'"\x00"'),
        "node name of a million letters": b'{"geoloom":1,"nodes":{"' + b"a" * 1_000_000 + b'":{}},' + root,
        "node null": forged({"geoloom": 1, "nodes": {key: None}, "root": key}),
        "node under a false name": forged({"geoloom": 1, "nodes": {key: entry(v=2)}, "root": key}),
        "op as number": chain_of(entry(op=1)),
        "op with capitals": chain_of(entry(op="Slope")),
        "op with newline": chain_of(entry(op="slope\n")),
        "op of other letters": chain_of(entry(op="ѕlope")),
        "op too long": chain_of(entry(op="a" * 65)),
        "version zero": chain_of(entry(v=0)),
        "version null": chain_of(entry(v=None)),
        "version float": chain_of(entry(v=1.5)),
        "params as list": chain_of(entry(params=[])),
        "object in params": chain_of(entry(params={"value": {"a": 1}})),
        "params nested too deeply": chain_of(entry(params={"value": nested(MAX_NESTING + 1)})),
        "inputs as text": chain_of(entry(inputs=key)),
        "input that is no key": chain_of(entry(inputs=["x"])),
        "input as number": chain_of(entry(inputs=[1])),
        "input that is not there": chain_of(entry(inputs=["0" * 32])),
        "sub-chain null": chain_of(entry(each=None)),
        "sub-chain that is not there": chain_of(entry(each="0" * 32)),
        "one field more": chain_of(entry(more=1)),
        "one field less": chain_of({"op": "f", "v": 1, "params": {}}),
        "node that nobody needs": chain_of(entry(), constant(7)),
        "root that is not there": forged({**json.loads(constant().to_json()), "root": "0" * 32}),
    }


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize("what", hostile())
def test_hostile_json_is_refused_in_words(what: str) -> None:
    with pytest.raises(CorruptChain) as caught:
        Chain.from_json(hostile()[what])
    message = str(caught.value)
    assert len(message) < 400
    message.encode("utf-8")  # an error page can show it


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(CorruptChain):
        Chain.from_json(noise)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["op", "v", "params", "inputs", "each", "x"]), json_values))
def test_any_json_as_a_node_is_read_or_refused(changed: dict[str, Any]) -> None:
    raw = chain_of(entry(**changed))
    try:
        chain = Chain.from_json(raw)
    except CorruptChain:
        return
    assert chain.to_json() == raw


def test_text_that_is_no_utf8() -> None:
    with pytest.raises(CorruptChain, match="UTF-8"):
        Chain.from_json('{"geoloom":"\ud800"}')


def test_a_chain_under_a_false_name() -> None:
    with pytest.raises(CorruptChain, match=constant(2).root):
        Chain.from_json(constant(1).to_json(), constant(2).root)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -0.0,
        1j,
        b"x",
        {1},
        {"a": 1},
        object(),
        "\ud800",
        nested(MAX_NESTING + 1),
        10**5000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_canonical_is_refused_when_building(value: Any) -> None:
    with pytest.raises(ParameterError):
        constant(value)
    with pytest.raises(ParameterError):
        constant([[value]])


def test_parameter_names_are_text() -> None:
    with pytest.raises(ParameterError, match="not text"):
        Chain.extend("f", 1, {1: "a"})  # type: ignore[dict-item]


def test_a_refused_parameter_is_named() -> None:
    with pytest.raises(ParameterError, match=r"constant\(value=…\)"):
        constant([float("nan")])


def test_the_deepest_nesting_allowed_travels() -> None:
    chain = constant(nested(MAX_NESTING))
    assert Chain.from_json(chain.to_json()) == chain


# bounds ----------------------------------------------------------------------------------------


def wide(count: int) -> list[Chain]:
    return [constant(i) for i in range(count)]


def test_as_many_steps_as_allowed() -> None:
    chain = Chain.extend("stack", 1, {}, tuple(wide(MAX_NODES - 1)))
    assert len(Chain.from_json(chain.to_json()).nodes) == MAX_NODES


def test_more_steps_than_allowed() -> None:
    with pytest.raises(ChainTooLarge, match="2,001 steps; at most 2,000"):
        Chain.extend("stack", 1, {}, tuple(wide(MAX_NODES)))
    nodes = {chain.root: chain.node.to_dict() for chain in wide(MAX_NODES + 1)}
    with pytest.raises(ChainTooLarge, match="2,001 steps"):
        Chain.from_json(forged({"geoloom": 1, "nodes": nodes, "root": next(iter(nodes))}))


def test_as_deep_as_allowed_and_one_deeper() -> None:
    chain = line(MAX_DEPTH)
    assert chain.depth == MAX_DEPTH
    assert Chain.from_json(chain.to_json()).depth == MAX_DEPTH
    with pytest.raises(ChainTooLarge, match="501 levels; at most 500"):
        Chain.extend("abs", 1, {}, (chain,))
    with pytest.raises(ChainTooLarge, match="501 levels"):
        Chain.from_json(chain_of(entry(inputs=[chain.root]), chain))


def test_sub_chains_count_as_depth() -> None:
    chain = line(MAX_DEPTH)
    with pytest.raises(ChainTooLarge, match="levels"):
        Chain.extend("composite", 1, {}, (), chain)


def test_as_long_as_allowed_and_one_byte_longer() -> None:
    room = MAX_BYTES - len(constant("").to_json())
    chain = constant("x" * room)
    assert len(chain.to_json()) == MAX_BYTES
    assert Chain.from_json(chain.to_json()) == chain
    with pytest.raises(ChainTooLarge, match="1,048,577 bytes; at most 1,048,576"):
        constant("x" * (room + 1))
    with pytest.raises(ChainTooLarge, match="bytes"):
        Chain.from_json(chain_of(entry(params={"value": "x" * (room + 1)})))


@given(chains())
def test_the_size_is_counted_exactly(chain: Chain) -> None:
    from geoloom.chain import _entry_size, _envelope_size

    counted = _envelope_size() + sum(_entry_size(node) for node in chain.nodes.values())
    assert counted == len(chain.to_json())


def seconds(work: Any) -> float:
    """Processor time of the fastest of three runs."""
    took = []
    for _ in range(3):
        start = time.process_time()
        work()
        took.append(time.process_time() - start)
    return min(took)


def two_thousand() -> Chain:
    """2,000 steps, built one after the other, 400 levels deep."""
    columns = []
    for column in range(5):
        chain = constant(column)
        for _ in range(395):
            chain = Chain.extend("abs", 1, {}, (chain,))
        columns.append(chain)
    while len(columns) > 1:
        columns = [*columns[2:], Chain.extend("add", 1, {}, tuple(columns[:2]))]
    return columns[0]


def test_building_two_thousand_steps_is_quick() -> None:
    assert len(two_thousand().nodes) == 1984
    assert seconds(two_thousand) < 2


def test_a_running_sum_of_many_numbers_is_quick() -> None:
    def total() -> None:
        chain = constant(0)
        for i in range(1, MAX_DEPTH):
            chain = Chain.extend("add", 1, {}, (chain, constant(i)))

    assert seconds(total) < 2


def longest(value: list[Any]) -> bytes:
    """A chain of nearly 1 MiB whose one parameter repeats `value`."""
    each = len(canonical(value)) - 1
    return constant(value * ((MAX_BYTES - 300) // each)).to_json()


@pytest.mark.parametrize(
    "value",
    [[[]], [0], [0.1], [1.2345678901234567e-300], ["\x00"], ["é"], [10**4299], [None]],
    ids=["lists", "ints", "floats", "long floats", "escapes", "unicode", "huge ints", "nulls"],
)
def test_a_megabyte_is_verified_within_a_second(value: list[Any]) -> None:
    raw = longest(value)
    assert MAX_BYTES - 5000 < len(raw) <= MAX_BYTES
    assert seconds(lambda: Chain.from_json(raw)) < 1


def test_many_edges_are_followed_within_a_second() -> None:
    leaves = wide(100)
    chain = Chain.extend("stack", 1, {}, tuple(leaves))
    for _ in range(250):
        chain = Chain.extend("stack", 1, {}, (*random.Random(1).sample(leaves, 100), chain))
    raw = chain.to_json()
    assert seconds(lambda: Chain.from_json(raw).topological()) < 1


# graphs ----------------------------------------------------------------------------------------


@given(chains())
def test_topological_order_puts_children_first_and_holds_every_node_once(chain: Chain) -> None:
    seen: set[str] = set()
    for node in chain.topological():
        assert set(node.children) <= seen
        seen.add(node.key)
    assert seen == set(chain.nodes)
    assert chain.topological()[-1].key == chain.root


@given(chains())
def test_at_gives_each_part_as_a_chain_of_its_own(chain: Chain) -> None:
    for key in chain.nodes:
        part = chain.at(key)
        assert part.root == key
        assert Chain.from_json(part.to_json()).depth == part.depth


def test_shared_parts_are_kept_once() -> None:
    chain = constant()
    for _ in range(100):
        chain = Chain.extend("add", 1, {}, (chain, chain))
    assert len(chain.nodes) == 101
    assert len(chain.topological()) == 101


def test_a_sub_chain_over_the_item_travels_with_the_chain() -> None:
    item = Chain.extend("item", 1, {"selection": SELECTION})
    clear = Chain.extend("mask", 1, {}, (item, constant()))
    chain = Chain.extend("composite", 1, {"selection": SELECTION}, (), clear)
    read = Chain.from_json(chain.to_json())
    assert read.node.each == clear.root
    assert read.node.children == (clear.root,)
    assert read.at(clear.root) == clear
    assert item.root in read.nodes
    assert [node.op for node in read.topological()][-1] == "composite"


def test_sub_chains_within_sub_chains() -> None:
    inner = Chain.extend("composite", 1, {}, (), Chain.extend("item", 1, {"selection": SELECTION}))
    outer = Chain.extend("composite", 1, {}, (Chain.extend("item", 1, {"selection": "f" * 32}),), inner)
    assert Chain.from_json(outer.to_json()) == outer
    assert len(outer.nodes) == 4


def test_without_its_sub_chain_a_chain_is_refused() -> None:
    chain = Chain.extend("composite", 1, {}, (), constant())
    with pytest.raises(CorruptChain, match="lacks"):
        Chain.from_json(chain_of(chain.node.to_dict()))


@pytest.mark.parametrize(
    "text", ["", "0" * 31, "0" * 33, "G" * 32, "A" * 32, "0" * 31 + "\n", 1, None, b"0" * 32]
)
def test_what_is_no_key(text: object) -> None:
    assert not is_key(text)


def test_blob_keys() -> None:
    assert is_key(key_of(b""))
    assert key_of(b"") == "e3b0c44298fc1c149afbf4c8996fb924"


def test_errors_are_of_the_tree() -> None:
    for raw in hostile().values():
        with pytest.raises(GeoloomError):
            Chain.from_json(raw)
