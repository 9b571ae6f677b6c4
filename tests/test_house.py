"""The house rules: who may import whom, what an import loads, where things are and what they are called."""

from __future__ import annotations

import ast
import configparser
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "client_lib" / "geoloom"
ENGINE = ROOT / "tile_engine" / "geoloom_engine"
HUB = ROOT / "hub" / "geoloom_hub"
ROOTS = (CLIENT, ENGINE, HUB)
# What lies in `data` is given to other programs.
SOURCES = sorted(
    path for root in ROOTS for path in root.rglob("*.py") if "data" not in path.relative_to(root).parts
)

# From the ground up: a module imports its own storey and those below. What is not named here lives
# between `image` and the widgets.
STOREYS: tuple[frozenset[str], ...] = (
    frozenset({"_version", "errors"}),
    frozenset({"grid", "block", "colour", "loops"}),
    frozenset({"chain"}),
    frozenset({"param", "profile", "paint", "declaration", "op", "symbols"}),
    frozenset(
        {
            "ops",
            "address",
            "derivation",
            "query",
            "selection",
            "selection_rows",
            "selection_table",
            "href_template",
            "outlines",
            "packing",
            "harness",
            "given",
            "calling",
            "afresh",
            "runtime_folder",
            "engine_client",
            "engine_connection",
            "local",
            "store",
            "blobs",
            "trial",
            "capture",
            "geojson",
            "paths",
        }
    ),
    frozenset(
        {
            "image",
            "lazy",
            "answer",
            "operators",
            "function",
            "execution",
            "examination",
            "report",
            "thumbnail",
            "per_item",
            "legend",
            "stencil",
            "joining",
            "classification",
            "features",
            "feature_source",
            "zonal",
        }
    ),
    frozenset(),  # all that is not named
    frozenset(
        {
            "basemaps",
            "controls",
            "form",
            "gui",
            "inspector",
            "interaction",
            "layers",
            "map",
            "messages",
            "panel",
            "pointer",
            "slideshow",
            "layer_order",
            "leaflet",
            "watch",
        }
    ),
)
UNNAMED = 6
WIDGETS = 7
NOT_FOR_ENGINE = frozenset({"engine_client", "engine_connection", "local"})

# Distributions that are not called as what they are imported by.
DISTRIBUTIONS = {"PIL": "pillow", "osgeo": "gdal-wheel", "skimage": "scikit-image"}

MAX_LINES = 400
MEANINGLESS_NAMES = ("utils", "util", "helpers", "helper", "common", "misc", "shared", "tools")

# Parts that are tested through the module, or with the sibling, that they were made for.
TESTED_WITH = {
    "backup_file": "backup",
    "declaration": "op",
    "derivation": "op",
    "gathering": "compositing",
    "items": "compositing",
    "painting": "coverage",
    "promised": "compositing",
    "painters/coverage": "coverage",
    "projection": "outline",
    "recipe": "plan",
    "supply": "compositing",
    "unwanted": "lanes",
    "versions": "plan",
    "apps/kernels": "pages",
    "ops/elementwise": "function",
    "ops/item": "plan",
    "ops/open": "opening",
    "ops/terrain": "slope",
    "ops/vectors": "burn",
    "readers/vector": "vectors",
    "readers/vector_files": "vectors",
    "readers/vector_flatgeobuf": "vectors",
    "feature_source": "features",
    "zonal": "features",
    "demand": "warp",
    "gather": "warp",
    "levels": "warp",
    "positions": "warp",
    "redis_connection": "services",
    "routes": "server",
    "setting_parsers": "settings",
    "selection_rows": "selection",
    "self_test_stores": "self_test",
    "selection_table": "selection",
    "steps": "plan",
    "tiles": "services",
}

# What `import geoloom` must not load, and the processor time it may take (seen: 0.15 s, most of it numpy).
HEAVY = {
    "ipyleaflet", "ipywidgets", "IPython", "numba", "osgeo", "pandas", "pyarrow", "pyproj", "pystac",
    "pystac_client", "redis", "scipy", "shapely", "skimage", "tornado", "xyzservices", "geoloom_engine",
}  # fmt: skip
IMPORT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement: the absolute name it asks for, its place, and whether it waits for a call."""

    name: str
    place: str
    lazy: bool

    @property
    def top(self) -> str:
        return self.name.split(".")[0]


@cache
def imports_of(path: Path) -> tuple[Import, ...]:
    """All imports of a file that are carried out (not those under ``if TYPE_CHECKING``)."""

    file = path.relative_to(ROOT)

    def walk(node: ast.AST, lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            place = f"{file}:{getattr(child, 'lineno', 0)}"
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, place, lazy)
            elif isinstance(child, ast.ImportFrom):
                for alias in child.names:
                    yield Import(f"{child.module}.{alias.name}", place, lazy)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            else:
                yield from walk(child, lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    return tuple(walk(ast.parse(path.read_text(encoding="utf-8")), lazy=False))


def imports_below(folder: Path, *but: Path) -> list[Import]:
    """All imports of the files below a folder, except those of (or below) the paths in ``but``."""
    files = (path for path in sorted(folder.rglob("*.py")) if not any(path.is_relative_to(b) for b in but))
    return [found for path in files for found in imports_of(path)]


def storey(module: str) -> int:
    """The storey of a module of geoloom, by the first part of its name inside the package."""
    return next((number for number, names in enumerate(STOREYS) if module in names), UNNAMED)


def inner_name(name: str) -> str:
    """``geoloom.ops.slope.Slope`` → ``ops``."""
    return (name.split(".") + [""])[1]


def places(imports: list[Import]) -> list[str]:
    return [f"{found.place} imports {found.name}" for found in imports]


def is_module(name: str) -> bool:
    return (CLIENT / f"{name}.py").exists() or (CLIENT / name).is_dir()


def test_geoloom_imports_its_own_storey_and_those_below() -> None:
    wrong = []
    for path in sorted(CLIENT.rglob("*.py")):
        own = path.relative_to(CLIENT).with_suffix("").parts[0]
        if own == "__init__":
            continue
        wrong += [
            found
            for found in imports_of(path)
            if found.top == "geoloom" and is_module(inner_name(found.name))
            if storey(inner_name(found.name)) > storey(own)
        ]
    assert places(wrong) == []


def test_engine_imports_only_the_storeys_below_image() -> None:
    wrong = [
        found
        for found in imports_below(ENGINE)
        if found.top == "geoloom" and is_module(inner_name(found.name))
        if storey(inner_name(found.name)) >= storey("image") or inner_name(found.name) in NOT_FOR_ENGINE
    ]
    assert places(wrong) == []


def test_geoloom_never_imports_the_engine() -> None:
    assert places([found for found in imports_below(CLIENT) if found.top == "geoloom_engine"]) == []


def test_osgeo_is_imported_only_by_readers_and_batch_writers() -> None:
    found = imports_below(CLIENT) + imports_below(ENGINE, ENGINE / "readers", ENGINE / "batch")
    assert places([one for one in found if one.top == "osgeo"]) == []


def test_hub_starts_the_engine_and_imports_neither_it_nor_the_client() -> None:
    found = [one for one in imports_below(HUB) if one.top in ("geoloom", "geoloom_engine")]
    assert places([one for one in found if one.name != "geoloom._version.__version__"]) == []
    others = imports_below(CLIENT) + imports_below(ENGINE)
    assert places([one for one in others if one.top == "geoloom_hub"]) == []


def test_tornado_is_imported_only_by_engine_and_hub() -> None:
    assert places([found for found in imports_below(CLIENT) if found.top == "tornado"]) == []


def test_evaluation_knows_neither_tornado_nor_redis() -> None:
    parts = [
        ENGINE / name for name in ("plan.py", "evaluate.py", "warp.py", "render.py", "mosaic.py", "cache.py")
    ]
    found = [one for path in parts if path.exists() for one in imports_of(path)]
    assert places([one for one in found if one.top in ("tornado", "redis")]) == []


def test_widgets_are_imported_only_by_map_and_gui() -> None:
    rooms = [CLIENT / f"{name}.py" for name in STOREYS[WIDGETS]] + [CLIENT / "gui"]
    found = imports_below(CLIENT, *rooms) + imports_below(ENGINE)
    assert places([one for one in found if one.top in ("ipyleaflet", "ipywidgets")]) == []


def test_geoloom_loads_compilers_and_scipy_only_inside_functions() -> None:
    slow = ("numba", "scipy", "skimage")
    assert places([one for one in imports_below(CLIENT) if one.top in slow and not one.lazy]) == []


def test_import_geoloom_is_light() -> None:
    code = (
        "import json, sys, time; import geoloom;"
        "print(json.dumps([time.process_time(), sorted({n.partition('.')[0] for n in sys.modules})]))"
    )
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    assert HEAVY.intersection(runs[0][1]) == set()
    assert min(seconds for seconds, _ in runs) < IMPORT_SECONDS


def test_pyproject_holds_only_the_build_system() -> None:
    assert list(tomllib.loads((ROOT / "pyproject.toml").read_text())) == ["build-system"]


@pytest.fixture
def setup() -> configparser.ConfigParser:
    """The packaging's declarations."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_setup_cfg_lists_every_package(setup: configparser.ConfigParser) -> None:
    there = {
        ".".join(path.parent.relative_to(root.parent).parts)
        for root in ROOTS
        for path in root.rglob("__init__.py")
    }
    assert set(setup["options"]["packages"].split()) == there


def test_wheel_takes_every_data_file(setup: configparser.ConfigParser) -> None:
    patterns = [pattern.strip() for pattern in setup["options.package_data"]["*"].split(",")]
    packages = {path.parent for path in SOURCES}
    taken = {path for package in packages for pattern in patterns for path in package.glob(pattern)}
    there = {path for path in committed_files() if any(path.is_relative_to(root) for root in ROOTS)}
    assert {path for path in there - taken if path.suffix != ".py"} == set()


def spelled(name: str) -> str:
    """A distribution's name in its one spelling."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(listed: str) -> set[str]:
    """Names of the distributions in a list of requirements."""
    lines = (line.strip() for line in listed.splitlines())
    return {spelled(re.split(r"[\[<>=;\s]", line)[0]) for line in lines if line and not line.startswith("#")}


def distributions(imports: list[Import]) -> set[str]:
    """Distributions that imports name, our own left out."""
    own = {root.name for root in ROOTS}
    found = {one.top for one in imports} - sys.stdlib_module_names - own
    return {DISTRIBUTIONS.get(top, spelled(top)) for top in found}


def test_what_is_imported_is_declared(setup: configparser.ConfigParser) -> None:
    client = declared(setup["options"]["install_requires"])
    extras = {name: declared(listed) for name, listed in setup["options.extras_require"].items()}
    imports = imports_below(CLIENT)
    assert distributions([one for one in imports if not one.lazy]) - client == set()
    # Kernels run in the engine, and a Jupyter server is asked only where there is one.
    assert distributions(imports) - client - extras["engine"] - extras["lab"] == set()
    assert distributions(imports_below(ENGINE)) - client - extras["engine"] == set()
    assert distributions(imports_below(HUB)) - client - extras["hub"] == set()


def test_every_folder_with_modules_is_a_package() -> None:
    assert [path for path in SOURCES if not (path.parent / "__init__.py").exists()] == []


def test_version_is_written_in_one_place() -> None:
    literal = re.compile(r"^__version__\s*=\s*[\"']", re.MULTILINE)
    assert [path for path in SOURCES if literal.search(path.read_text())] == [CLIENT / "_version.py"]


def test_installed_version_is_the_written_one() -> None:
    from geoloom._version import __version__

    assert metadata.version("geoloom") == __version__


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_is_small_and_named_for_what_it_holds(path: Path) -> None:
    assert path.stem not in MEANINGLESS_NAMES
    lines = path.read_text().count("\n")
    assert lines <= MAX_LINES


def wanted_tests(path: Path) -> set[str]:
    """Names of test files, any of which tests this module; empty if it needs none of its own."""
    root = next(root for root in ROOTS if path.is_relative_to(root))
    name = str(path.relative_to(root).with_suffix(""))
    if path.stem in ("__init__", "_version"):
        return set()
    # The modules of one inner package may share a file.
    package = name.rpartition("/")[0]
    names = {path.stem.strip("_"), package, TESTED_WITH.get(name, ""), TESTED_WITH.get(package, "")} - {""}
    return {f"test_{one}.py" for one in names}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_has_a_test_file(path: Path) -> None:
    wanted = wanted_tests(path)
    there = {test.name for test in (ROOT / "tests").rglob("test_*.py")}
    assert not wanted or wanted & there, f"none of {sorted(wanted)} in tests"


def committed_files() -> list[Path]:
    """Files git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    private = re.compile(rb"(?<![\w.])/(work|root)/")
    # This file spells the pattern.
    files = [path for path in committed_files() if path != Path(__file__).resolve()]
    assert [str(path.relative_to(ROOT)) for path in files if private.search(path.read_bytes())] == []


def test_notebooks_are_committed_without_outputs() -> None:
    for path in committed_files():
        if path.suffix == ".ipynb":
            cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
            assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells), path
