"""Definitions: the text that Python made a function of, from files of any kind."""

from __future__ import annotations

import importlib
import linecache
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

from geoloom.capture import capture
from geoloom.capture.definition import find, gives
from geoloom.errors import FunctionNotSent

Write = Callable[..., ModuleType]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Makes modules: writes a file of that text, and imports it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def module(text: str | bytes, name: str = "own_module") -> ModuleType:
        (tmp_path / f"{name}.py").write_bytes(text if isinstance(text, bytes) else text.encode())
        importlib.invalidate_caches()
        made.append(name)
        sys.modules.pop(name, None)
        return importlib.import_module(name)

    yield module
    for name in made:
        sys.modules.pop(name, None)
        linecache.cache.pop(str(tmp_path / f"{name}.py"), None)


def body(function: Any) -> list[str]:
    """The lines of a captured text below its header."""
    return capture(function).source.split("\n")[1:-1]


def result(function: Any, value: Any = 3) -> Any:
    captured = capture(function)
    space: dict[str, Any] = {}
    exec(captured.source, space)
    return space[captured.name](value)


FORMS: dict[str, str | bytes] = {
    "plain": "def f(img):\n    return img + 1\n",
    "no newline at the end": "def f(img):\n    return img + 1",
    "one line": "def f(img): return img + 1  # so\n",
    "statements in a line": "def f(img): a = img; return a + 1\n",
    "continuation": "def f(img):\n    a = img \\\n+ 1\n    return a\n",
    "brackets further left": "def f(img):\n    a = (img\n+ 1\n  )\n    return a\n",
    "comment further left": "def f(img):\n    a = img\n# why\n    return a + 1\n",
    "def in lines": "def f(\n    img,\n    by=1,\n):\n    return img + by\n",
    "def with a backslash": "def \\\n  f(img):\n    return img + 1\n",
    "tabs": "if 1:\n\tdef f(img):\n\t\tif img:\n\t\t\treturn img + 1\n",
    "tabs and spaces": "if 1:\n\tdef f(img):\n\t    return img + 1\n",
    "windows": "import math\r\n\r\ndef f(img):\r\n    '''one\r\n    two'''\r\n    return img + 1\r\n",
    "old mac": "def f(img):\r    return img + 1\r",
    "latin-1": "# coding: latin-1\ndef f(img):\n    größe = 'ä'\n    return img + len(größe)\n".encode(
        "latin-1"
    ),
    "utf-8 with mark": b"\xef\xbb\xbfdef f(img):\n    return img + len('\xc3\xa4')\n",
    "letters read as others": "def ﬁll(img):\n    return img + 1\nf = fill\n",
    "form feed": "x = 1\n\x0c\ndef f(img):\n    return img + 1\n",
    "line separator in text": "def f(img):\n    return img + len('\u2028')\n",
    "in a with block": "import contextlib\nwith contextlib.nullcontext():\n"
    "    def f(img):\n        return img + 1\n",
    "in a try block": "try:\n    def f(img):\n        return img + 1\nexcept ValueError:\n    f = None\n",
    "text to the left": 'if 1:\n    def f(img):\n        a = """\nb\n"""\n        return img + len(a) - 2\n',
    "f-string in lines": "if 1:\n    def f(img):\n        a = f'''{\n"
    "  img}\n   '''\n        return img + len(a) - 4\n",
    "bytes in lines": "if 1:\n    def f(img):\n        a = b'''\n'''\n        return img + len(a)\n",
    "adjacent strings": "if 1:\n    def f(img):\n        a = ('a'\n             'b')\n"
    "        return img + len(a) - 1\n",
    "two of one name": "def f(img):\n    return img\ndef f(img):\n    return img + 1\n",
    "condition": "if 1:\n    def f(img):\n        return img + 1\n"
    "else:\n    def f(img):\n        return img\n",
    "equal twins": "def g(img):\n    return img + 1\ndef f(img):\n    return img + 1\n",
    "future": "from __future__ import annotations\ndef f(img: Nothing):\n"
    "    def g(x: Nothing): return x\n    return g(img) + 1\n",
    "annotations": "from typing import Any\ndef f(img: Any) -> Any:\n    def g(x: Any) -> Any: return x\n"
    "    return g(img) + 1\n",
    "lambda": "f = lambda img: img + 1\n",
    "lambda with a type": "f: object = lambda img: img + 1\n",
    "two lambdas": "g, f = lambda img: img, lambda img: img + 1\n",
    "equal lambdas": "g, f = lambda img: img + 1, lambda img: img + 1\n",
    "lambda in lines": "f = (\n    lambda img: # why\n        img\n  + 1  # what\n)\n",
    "lambda behind letters": "ä, f = 'äöü', (lambda img: img + len('ä'))\n",
    "lambda in a lambda": "f = (lambda: lambda img: img + 1)()\n",
    "lambda in a call": "f = max([lambda img: img + 1], key=lambda one: 1)\n",
    "lambda in a default": "def g(h=lambda img: img + 1): return h\nf = g()\n",
    "lambda in a dict": "rules = {'a': lambda img: img, 'b': lambda img: img + 1}\nf = rules['b']\n",
    "lambda in a comprehension": "f = [lambda img, n=n: img + n for n in range(3)][1]\n",
    "class inside": "# moved\n\ndef f(img):\n    class A:\n        one = 1\n"
    "        three = 3\n    return img + A.one\n",
    "imports beside": "import math\ndef f(img):\n    return img + math.floor(1.5)\n",
    "imports used further inside": "import math\ndef f(img):\n    def g(x):\n        return math.floor(x)\n"
    "    return g(img) + 1\n",
    "imports beside and inside": (
        "import math\ndef f(img):\n    import math\n    return math.floor(img) + 1\n"
    ),
    "deep": "def f(img):\n    return img + 1" + " * 1 + len('')" * 800 + "\n",
    "constant of many kinds": "def f(img):\n    return img + sum((1, -0.0, 0)) if 1.0 in {1, 2} else None\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(write: Write, form: str) -> None:
    module = write(FORMS[form])
    assert result(module.f) == 4


def test_lines_are_as_they_were_written(write: Write) -> None:
    text = "def f(img):  # the first\n    # why  \n\n    a  =  img ;\n    return   a\n\n# behind\n"
    assert body(write(text).f) == ["", "", *text.split("\n")[:5]]


def test_an_indented_function_is_moved_to_the_left(write: Write) -> None:
    text = "if 1:\n    def f(img):\n        '''\n    text'''\n\n        return (img\n      )\n"
    wanted = ["def f(img):", "    '''", "    text'''", "", "    return (img", "  )"]
    assert body(write(text).f)[2:] == wanted


def test_line_one_is_the_def_of_each_function(write: Write) -> None:
    text = (
        "N = 3\ndef helper(x):\n    return x\n"
        "def around(by):\n    def f(img):\n        return helper(img) + by + N\n"
        "    return f\nf = around(2)\ng = lambda img: f(img)\n"
    )
    captured = capture(write(text).g)
    lines = captured.source.split("\n")
    assert {name: lines[number - 1].strip() for name, number in captured.lines.items()} == {
        "helper": "def helper(x):",
        "f": "def f(img):",
        "g": "g = (lambda img: f(img))",
    }


def test_a_file_that_was_edited_is_refused(write: Write, tmp_path: Path) -> None:
    module = write("def f(img):\n    return img + 1\n")
    (tmp_path / "own_module.py").write_text("def f(img):\n    return img + 2\n")
    with pytest.raises(FunctionNotSent, match=r"own_module\.py.*changed.*importlib\.reload\(own_module\)"):
        capture(module.f)
    importlib.reload(module)
    linecache.checkcache()


def test_a_file_that_was_edited_elsewhere_serves(write: Write, tmp_path: Path) -> None:
    module = write("def f(img):\n    return img + 1\n")
    (tmp_path / "own_module.py").write_text(
        "import math\n\nX = 1\ndef f(img):\n    return img + 1  # newer\n"
    )
    assert body(module.f)[-1] == "    return img + 1  # newer"


def test_text_that_was_read_before_the_edit_serves(write: Write, tmp_path: Path) -> None:
    module = write("def f(img):\n    return img + 1\n")
    file = tmp_path / "own_module.py"
    linecache.getlines(str(file))
    file.write_text("def f(img):\n    return img + 200\n")
    assert body(module.f)[-1] == "    return img + 1"


def test_a_file_that_is_gone_is_told(write: Write, tmp_path: Path) -> None:
    module = write("def f(img):\n    return img + 1\n")
    (tmp_path / "own_module.py").unlink()
    with pytest.raises(FunctionNotSent, match="cannot be sent to the engine: its text"):
        capture(module.f)


def test_functions_of_a_zip_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "parts.zip", "w") as archive:
        archive.writestr("zipped.py", "def f(img):\n    return img + 1\n")
    monkeypatch.syspath_prepend(str(tmp_path / "parts.zip"))
    assert result(importlib.import_module("zipped").f) == 4
    del sys.modules["zipped"]


def test_functions_made_by_exec_have_no_text() -> None:
    space: dict[str, Any] = {}
    exec("def f(img):\n    return img", space)
    with pytest.raises(FunctionNotSent, match="made by exec"):
        capture(space["f"])


@pytest.mark.parametrize("name", ["statistics", "textwrap", "shutil", "scipy.ndimage._filters"])
def test_functions_of_libraries_are_cut_out_exactly(name: str) -> None:
    module = importlib.import_module(name)
    functions = [one for one in vars(module).values() if type(one) is FunctionType]
    found = [one for one in functions if one.__module__ == name and one.__closure__ is None]
    assert len(found) > 4
    for function in found:
        definition = find(function)
        text = "\n".join(definition.statement(function.__name__))
        assert gives(text, 1, definition, function.__code__)


SCRIPT = """
import os, sys
import numpy as np
from geoloom.capture import capture
LIMIT = {"b", "a", "c", "d", "e"}
def f(img):
    return np.where(img[0] > len(LIMIT), 1, 0)
os.chdir("/")
sys.stdout.write(capture(f).source)
"""


def test_scripts_and_other_processes_give_the_same_text(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    texts = [
        subprocess.run(
            [sys.executable, "script.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert texts[0] == texts[1]
    assert texts[0].endswith(
        "LIMIT = {'a', 'b', 'c', 'd', 'e'}\n\n\n" + SCRIPT[SCRIPT.index("def") : SCRIPT.index("os.ch")]
    )


def test_functions_that_are_typed_at_a_prompt() -> None:
    typed = (
        "from geoloom.capture import capture\ndef f(img):\n    return img\n\n"
        "try: print(capture(f).source)\nexcept Exception as error: print(error)\n\n"
    )
    run = subprocess.run(
        [sys.executable, "-i", "-q"], input=typed, capture_output=True, text=True, check=True
    )
    assert "typed where Python keeps no text" in run.stdout or "def f(img):" in run.stdout
