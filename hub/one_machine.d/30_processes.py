"""A user's server is a process on this machine.

GEOLOOM_HUB_SPAWNER names what starts it:

simple      a process of the hub's own system user, with a home folder below the hub's state: users are kept
            apart by politeness only, so this is for trying out and for people who trust each other
system      a process of the system user of the same name; the hub must run as root
otherwise   a name that a spawner's package registers, such as systemd
"""

import os

home = os.environ["GEOLOOM_HUB_HOME"]
spawner = os.environ.get("GEOLOOM_HUB_SPAWNER", "simple")
c.JupyterHub.spawner_class = {"system": "localprocess"}.get(spawner, spawner)
c.SimpleLocalProcessSpawner.home_dir_template = f"{home}/users/{{username}}"
c.Spawner.notebook_dir = "~"
if os.geteuid() == 0 and spawner == "simple":
    c.Spawner.args = ["--allow-root"]

# What carries this mark is ended with the hub, however far it has detached itself.
c.Spawner.environment = {"GEOLOOM_HUB_MARK": os.environ.get("GEOLOOM_HUB_MARK", "")}
# The engine and the hub serve everybody, a kernel one: where there is not enough for all, kernels wait.
c.Spawner.environment["GEOLOOM_PROCESS_NICE"] = os.environ.get("GEOLOOM_HUB_NICE", "5")
process_memory = os.environ.get("GEOLOOM_HUB_PROCESS_MEMORY", "")
if process_memory:
    c.Spawner.environment["GEOLOOM_PROCESS_MEMORY"] = process_memory

# A server that stops takes its kernels along; one that does not listen is not waited for long.
c.LocalProcessSpawner.interrupt_timeout = 2
c.LocalProcessSpawner.term_timeout = 8
c.Spawner.start_timeout = 120
c.Spawner.http_timeout = 120
