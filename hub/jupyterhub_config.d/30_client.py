"""Users' servers find the engine: `import geoloom` in a new notebook works with no setting."""

import os

client = {
    # How kernels reach the engine, …
    "GEOLOOM_ENGINE_URL": os.environ.get("GEOLOOM_HUB_ENGINE_URL", "http://127.0.0.1:8080"),
    # … how browsers do: by the hub's own address, so that whoever sees the hub sees tiles, …
    "GEOLOOM_TILES_URL": os.environ.get("GEOLOOM_HUB_TILES_URL", "/services/tiles"),
    # … and which of its variables holds the kernel's token.
    "GEOLOOM_TOKEN_FROM": "JUPYTERHUB_API_TOKEN",
    "GEOLOOM_SAMPLES": os.environ.get("GEOLOOM_HUB_SAMPLES", ""),
}
# The chart that ours rests upon sets the environment of its own spawner, which would hide the general one.
for section in (c.Spawner, c.KubeSpawner):
    section.environment.update(client)

# Copies the sample notebooks once, then becomes the server.
c.Spawner.cmd = ["python", "-P", "-m", "geoloom_hub.user_server"]
c.Spawner.default_url = os.environ.get("GEOLOOM_HUB_FIRST_PAGE", "/lab")
