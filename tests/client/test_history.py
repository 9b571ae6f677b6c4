"""History: functions of cells are found where `inspect` finds nothing, and the right one of several."""

from __future__ import annotations

import builtins
import contextlib
import linecache
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from geoloom.capture import capture, history
from geoloom.capture.slips import explain_slips
from geoloom.errors import FunctionNotSent

Run = Callable[[str], Any]


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs cells in an IPython of its own, and returns its namespace."""
    quiet = Config()
    quiet.HistoryManager.enabled = False
    names = set(vars(builtins))
    shell = InteractiveShell.instance(config=quiet)
    try:

        def run_cell(text: str) -> dict[str, Any]:
            result = shell.run_cell(text, store_history=True)
            if result.error_before_exec is None:
                result.raise_error()
            space: dict[str, Any] = shell.user_ns
            return space

        yield run_cell
    finally:
        InteractiveShell.clear_instance()
        for name in set(vars(builtins)) - names:
            delattr(builtins, name)


def last_line(function: Any) -> str:
    """What its text ends with."""
    return capture(function).source.splitlines()[-1].strip()


def test_without_ipython_there_are_no_cells() -> None:
    assert list(history.cells()) == []


@pytest.mark.parametrize(
    "magic", ["%%time", "\n%%time", "%%time\n%%capture", "%%capture\n%%time", "%%capture"]
)
def test_functions_of_cells_with_a_magic(run: Run, magic: str) -> None:
    space = run(f"{magic}\n# a comment\nN = 3\ndef f(img):\n    return img[0] > N  # as typed\n")
    captured = capture(space["f"])
    assert captured.source.endswith("N = 3\n\n\ndef f(img):\n    return img[0] > N  # as typed\n")


def test_line_magics_before_a_function(run: Run) -> None:
    space = run("%%time\n%alias_magic t time\n%alias_magic tt timeit\ndef f(img):\n    return img[0]\n")
    assert last_line(space["f"]) == "return img[0]"


def test_a_line_magic_inside_a_function_is_refused(run: Run) -> None:
    space = run("def f(img):\n    !ls\n    return img[0]\n")
    with pytest.raises(FunctionNotSent, match=r"get_ipython.*line 2.*lines with % and !"):
        capture(space["f"])


def test_imports_beside_a_function_do_not_hide_it(run: Run) -> None:
    # Python makes other code of np.sum(…) where it sees the import. IPython compiles each statement
    # by itself, and %%time a cell as a whole.
    for magic in ("", "%%time\n"):
        space = run(f"{magic}import numpy as np\ndef f(img):\n    return np.sum(img, axis=0)\nf\n")
        assert "import numpy as np" in capture(space["f"]).source


@pytest.mark.parametrize("magic", ["", "%%time\n"])
def test_the_function_at_hand_counts_not_the_newest_cell(run: Run, magic: str) -> None:
    first = run(f"{magic}def f(img):\n    return img[0] + 1\n")["f"]
    second = run(f"{magic}def f(img):\n    return img[0] + 2\n")["f"]
    run("def f(img):\n    return img[0] +\n")
    assert last_line(first) == "return img[0] + 1"
    assert last_line(second) == "return img[0] + 2"


@pytest.mark.parametrize("magic", ["", "%%time\n"])
def test_of_equal_code_in_many_cells_the_newest_counts(run: Run, magic: str) -> None:
    run(f"{magic}def f(img):\n    return img[0]  # one\n")
    space = run(f"{magic}def f(img):\n    return img[0]  # two\n")
    assert last_line(space["f"]) == "return img[0]  # two"


def test_two_functions_of_one_name_in_one_cell(run: Run) -> None:
    space = run("%%time\ndef f(img):\n    return img[0]\nfirst = f\ndef f(img):\n    return img[1]\n")
    assert last_line(space["first"]) == "return img[0]"
    assert last_line(space["f"]) == "return img[1]"


def test_the_text_does_not_depend_on_the_cell(run: Run) -> None:
    text = "def f(img):\n    return helper(img[0]) * N\n"
    helper = "def helper(band):\n    return band + 1\n"
    one = capture(run(f"N = 2\n{helper}\n{text}")["f"])
    run("other = 5\ndef unused(img):\n    return other\n")
    run(f"%%time\n{helper}")
    two = capture(run(f"%%time\nimport math\n# again\n\n    \n{text}")["f"])
    assert one == two


def test_a_cell_that_is_indented_and_a_function_in_a_block(run: Run) -> None:
    space = run("%%time\nwith open('/dev/null'):\n    if True:\n\tpass\n".replace("\t", "        "))
    space = run("%%time\nif True:\n  def f(img):\n     text = '''\n a'''\n     return img[0]\n")
    assert capture(space["f"]).source.splitlines()[-4:] == [
        "def f(img):",
        "   text = '''",
        " a'''",
        "   return img[0]",
    ]


def test_lambdas_of_a_timed_cell(run: Run) -> None:
    space = run("%%time\nlow, high = (lambda img: img[0] < 5), (lambda img: img[0] > 5)\n")
    assert last_line(space["low"]) == "function = (lambda img: img[0] < 5)"
    assert last_line(space["high"]) == "function = (lambda img: img[0] > 5)"


def test_functions_made_by_exec_are_refused(run: Run) -> None:
    space = run("exec('def f(img):\\n    return img[0]')")
    with pytest.raises(FunctionNotSent, match=r"made by exec.*image\.execute\('def f"):
        capture(space["f"])


def test_a_cell_that_is_forgotten_is_asked_for_again(run: Run) -> None:
    function = run("%%time\ndef f(img):\n    return img[0]\n")["f"]
    run("get_ipython().history_manager.reset()\nIn.clear()\nIn.append('')")
    run("g = 5")
    with pytest.raises(FunctionNotSent, match="Run the cell with its def again"):
        capture(function)


def test_the_slip_in_a_cell_that_did_not_run_is_told_by_name(run: Run) -> None:
    run("def stubble(img, n):\n    return img[img<=n] = 0\n")
    with pytest.raises(FunctionNotSent) as caught:
        capture("stubble")
    assert "an assignment has no value to return" in caught.value.message
    assert caught.value.hint == "Write img[img <= n] = 0 in a line of its own, and then return img."


@pytest.mark.parametrize("magic", ["", "%%time\n"])
def test_the_slip_is_explained_below_the_cell(
    run: Run, magic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    explain_slips()
    explain_slips()
    with contextlib.suppress(SyntaxError):
        run(f"{magic}def stubble(img, n):\n    return img[img<=n] = 0  # so\n")
    told = (
        "Line 2: an assignment has no value to return. Write img[img <= n] = 0 in a line of its own, and then"
    )
    assert capsys.readouterr().out.count(told) == 1
    with contextlib.suppress(SyntaxError):
        run(f"{magic}def stubble(img, n)\n    return img\n")
    run("1 + 1")
    assert "value to return" not in capsys.readouterr().out


def test_outside_ipython_nothing_is_explained() -> None:
    explain_slips()


def test_what_only_notebooks_have_is_refused(run: Run) -> None:
    space = run("def f(img):\n    display(img)\n    return img\n")
    with pytest.raises(FunctionNotSent, match=r"display.*line 2"):
        capture(space["f"])


def test_linecache_does_not_lead_astray(run: Run) -> None:
    function = run("def f(img):\n    return img[0]\n")["f"]
    file = function.__code__.co_filename
    size, time, _, name = linecache.cache[file]  # type: ignore[misc]
    linecache.cache[file] = (size, time, ["def f(img):\n", "    return img[1]\n"], name)
    assert last_line(function) == "return img[0]"


CELLS = (
    "import numpy as np\nfrom scipy import ndimage as nd\nLIMIT = 3",
    "%%time\ndef smooth(band):\n    return nd.uniform_filter(band, 3)\n"
    "def f(img):\n    return smooth(img[0]) > LIMIT",
    "def g(img):\n    return np.where(f(img), 1, 0)  # in a cell of its own",
    "from geoloom.capture import capture\nprint(capture(f).source)\nprint(capture(g).source)",
    "def g(img):\n    return np.where(f(img), 2, 0)",
    "print(capture(g).source)",
)


def test_in_a_real_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    printed = ["".join(one.text for one in cell.outputs if one.name == "stdout") for cell in notebook.cells]
    assert printed[3].count("def smooth(band):\n    return nd.uniform_filter(band, 3)\n\n\ndef f(img):") == 2
    assert printed[3].endswith("return np.where(f(img), 1, 0)  # in a cell of its own\n\n")
    assert printed[5].endswith("return np.where(f(img), 2, 0)\n\n")


def test_nothing_loads_ipython() -> None:
    code = (
        "import sys; from geoloom.capture import capture\n"
        "try: capture(eval('lambda img: img'))\n"
        "except Exception as error: print(type(error).__name__)\n"
        "print('IPython' in sys.modules, 'scipy' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["FunctionNotSent", "False", "False"]
