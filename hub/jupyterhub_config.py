"""The hub's configuration: all files of these folders, in this order.

one_machine.d/         what Kubernetes brings along itself: addresses, proxy, login, the users' processes
jupyterhub_config.d/   what holds wherever the hub runs; the chart mounts the same files
$GEOLOOM_HUB_HOME/jupyterhub_config.d/     the operator's own, last, so that it has the last word

They are told what differs from place to place by environment variables: docs/hub.md lists them. A file finds
`c`, the configuration, and nothing of the files before it. It must not call `get_config` itself: in the
chart that is another function. Roles and services are lists that files append to.
"""

import os
from pathlib import Path

c = get_config()  # noqa: F821
c.JupyterHub.services = []
c.JupyterHub.load_roles = []

here = Path(__file__).parent
folders = [here / "one_machine.d", here / "jupyterhub_config.d"]
folders.append(Path(os.environ["GEOLOOM_HUB_HOME"]) / "jupyterhub_config.d")
for folder in folders:
    for file in sorted(folder.glob("*.py")):
        exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), {"c": c})  # noqa: S102
