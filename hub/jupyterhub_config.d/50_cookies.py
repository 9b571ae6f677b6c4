"""Cookies and origins.

JupyterHub's cookies are HttpOnly already. Here they get SameSite=Lax, which keeps them out of other sites'
forms and pictures and still lets a login provider send people back. Behind HTTPS they get Secure as well,
and with subdomains the prefix __Host-, so that one user's subdomain can set none for another's.
"""

import os

from jupyterhub.utils import subdomain_hook_idna

public_url = os.environ.get("GEOLOOM_HUB_PUBLIC_URL", "")
subdomains = os.environ.get("GEOLOOM_HUB_SUBDOMAINS", "")
secure = (subdomains or public_url).startswith("https://")

cookies = {"samesite": "Lax"}
if secure:
    cookies["secure"] = True
c.JupyterHub.tornado_settings.update({"cookie_options": cookies})


def subdomain(name, domain, kind):
    """A user's own domain; the services share one, which no user's name can become."""
    return f"hub--services.{domain}" if kind == "service" else subdomain_hook_idna(name, domain, kind)


if subdomains:
    c.JupyterHub.subdomain_host = subdomains
    c.JupyterHub.subdomain_hook = subdomain
    c.JupyterHub.cookie_host_prefix_enabled = secure
