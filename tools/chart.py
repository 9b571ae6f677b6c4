"""Write into the chart what it has from elsewhere: the hub's files, and the names of the engine's settings.

A chart reads no file outside its own folder, and a value cannot read any. So the files of
hub/jupyterhub_config.d stand in values.yaml as `jupyterhub.hub.extraFiles`, its last key, and the settings'
names in values.schema.json.

    python tools/chart.py            writes both anew
    python tools/chart.py --check    says what is not as it would be written
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import fields
from pathlib import Path

from geoloom_engine.settings import Settings, variable

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "helm" / "geoloom"
FOLDER = ROOT / "hub" / "jupyterhub_config.d"
MOUNT = "/usr/local/etc/jupyterhub/jupyterhub_config.d"
"""The JupyterHub chart's own configuration carries out what is here, at its end."""
KEY = "    extraFiles:\n"


def values() -> str:
    """values.yaml, with the hub's files as they are now."""
    head, found, _ = (CHART / "values.yaml").read_text(encoding="utf-8").partition(KEY)
    if not found:
        raise ValueError("values.yaml has lost its last key, jupyterhub.hub.extraFiles.")
    parts = [head, KEY]
    for file in sorted(FOLDER.glob("*.py")):
        parts.append(f"      {file.stem}:\n")
        parts.append(f"        mountPath: {MOUNT}/{file.name}\n")
        parts.append("        stringData: |\n")
        parts += [
            f"{'          ' if line else ''}{line}\n"
            for line in file.read_text(encoding="utf-8").splitlines()
        ]
    return "".join(parts)


def own_variables() -> set[str]:
    """Settings that the chart's templates set, so that nobody else may; its defaults are not among them."""
    text = (CHART / "templates" / "engine" / "_engine.tpl").read_text(encoding="utf-8")
    text = re.sub(r"\$defaults := dict.*?}}", "", text, flags=re.DOTALL)
    return set(re.findall(r'"(GEOLOOM_[A-Z_]+)"', text))


def schema() -> str:
    """values.schema.json, with the names of the settings that are an operator's to choose."""
    wanted = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    names = {variable(item) for item in fields(Settings)} - own_variables()
    wanted["properties"]["engine"]["properties"]["settings"]["propertyNames"]["enum"] = sorted(names)
    return json.dumps(wanted, indent=2) + "\n"


def main(arguments: list[str]) -> int:
    """Write, or compare; the exit status."""
    stale = [
        (path, text)
        for path, text in ((CHART / "values.yaml", values()), (CHART / "values.schema.json", schema()))
        if path.read_text(encoding="utf-8") != text
    ]
    for path, text in stale:
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is not as `make chart` writes it.")
        else:
            path.write_text(text, encoding="utf-8")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
