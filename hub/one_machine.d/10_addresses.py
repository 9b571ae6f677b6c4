"""Where the hub listens and keeps its state, and the proxy in front of it.

`geoloom_hub` starts the proxy and keeps it alive. So neither a restarted hub nor a stopping one takes
proxy, engine or users' servers down.
"""

import os

home = os.environ["GEOLOOM_HUB_HOME"]
c.JupyterHub.db_url = f"sqlite:///{home}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = f"{home}/cookie_secret"

c.JupyterHub.bind_url = os.environ.get("GEOLOOM_HUB_BIND_URL", "http://127.0.0.1:8000/")
c.JupyterHub.hub_bind_url = os.environ.get("GEOLOOM_HUB_INNER_URL", "http://127.0.0.1:8081/")
if os.environ.get("GEOLOOM_HUB_PUBLIC_URL", ""):
    c.JupyterHub.public_url = os.environ["GEOLOOM_HUB_PUBLIC_URL"]

c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = os.environ.get("GEOLOOM_HUB_PROXY_API_URL", "http://127.0.0.1:8001/")

c.JupyterHub.cleanup_proxy = False
c.JupyterHub.cleanup_servers = False
