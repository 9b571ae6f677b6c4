"""Apps for people who never see a notebook: Voilà as a service of the hub, ``python -m geoloom_hub.apps``."""
