"""JupyterHub on one machine: starts the hub and all beside it, and keeps them alive.

::

    __main__.py     python -m geoloom_hub: start, stop, status
    settings.py     what the environment says
    folder.py       the state: secrets, ports, data, logs
    parts.py        what there is to start: two Valkeys, engine, proxy, hub, apps, usage page, culler
    part.py         one of them, as a process that is started again when it ends
    supervisor.py   all of them
    stack.py        the whole as something a program starts, asks and stops
    user_server.py  what a user's server runs first: copies the sample notebooks once
    lean.py         starts Jupyter's programs in half the time
    usage_page.py   the page for admins: who uses how much
    apps/           the apps: notebooks shown without their code, by Voilà

The hub's own configuration is in ``hub/jupyterhub_config.d``.
"""
