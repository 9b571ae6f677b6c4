"""Cookies and origins.

JupyterHub's cookies are HttpOnly already. Here they get SameSite=Lax, which keeps them out of other sites'
forms and pictures and still lets a login provider send people back. Behind HTTPS they get Secure as well,
and with subdomains the prefix __Host-, so that one user's subdomain can set none for another's.
"""

import os

public_url = os.environ.get("GEOLOOM_HUB_PUBLIC_URL", "")
subdomains = os.environ.get("GEOLOOM_HUB_SUBDOMAINS", "")
secure = (subdomains or public_url).startswith("https://")

cookies = {"samesite": "Lax"}
if secure:
    cookies["secure"] = True
c.JupyterHub.tornado_settings.update({"cookie_options": cookies})
if subdomains:
    c.JupyterHub.subdomain_host = subdomains
    c.JupyterHub.cookie_host_prefix_enabled = secure
