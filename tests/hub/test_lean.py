"""Programs that start without what they never use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_module_runs_as_it_would_without(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import sys\nassert __name__ == '__main__'\n"
        "import jsonschema\nprint(sys.argv[1:], sys.modules.get('rfc3987_syntax'))\n"
        "jsonschema.validate(1, {'type': 'integer'})\nsys.exit(3)\n"
    )
    found = subprocess.run(
        [sys.executable, "-m", "geoloom_hub.lean", "program", "--port", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert found.stdout == "['--port', '1'] None\n", found.stderr
    assert found.returncode == 3
