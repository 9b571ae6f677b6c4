"""Who may log in, and how.

GEOLOOM_HUB_LOGIN names the way:

password    any name, with one password for all (and another for admins): for trying out
dummy       any name, any password: for tests
pam         the machine's own users and passwords
oidc        any OpenID Connect provider, whose address is GEOLOOM_HUB_OIDC_URL
otherwise   a name that an authenticator's package registers: github, gitlab, google, azuread, …
"""

import json
import os
import sys
import urllib.request
from pathlib import Path

ENDPOINTS = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint")


def names(variable):
    """Names in a variable, between commas."""
    return {name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()}


def addresses(issuer):
    """A provider's addresses as it tells them; those it told last if it does not answer just now."""
    kept = Path(os.environ["GEOLOOM_HUB_HOME"]) / "oidc.json"
    try:
        with urllib.request.urlopen(f"{issuer}/.well-known/openid-configuration", timeout=5) as answer:
            told = json.loads(answer.read(1_000_000))
        found = {"issuer": issuer, **{name: told[name] for name in ENDPOINTS}}
        kept.write_text(json.dumps(found), encoding="utf-8")
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        known = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
        if known.get("issuer") == issuer:
            return known
        sys.exit(
            f"GEOLOOM_HUB_OIDC_URL is {issuer!r}: {issuer}/.well-known/openid-configuration does not tell "
            f"where to log in ({type(error).__name__}: {error})."
        )


login = os.environ.get("GEOLOOM_HUB_LOGIN", "password")
users = names("GEOLOOM_HUB_USERS")
admins = names("GEOLOOM_HUB_ADMINS")
c.Authenticator.admin_users = admins
c.Authenticator.allowed_users = users | admins if users else set()
c.JupyterHub.authenticator_class = {"password": "shared-password", "oidc": "generic-oauth"}.get(login, login)

if login in ("password", "dummy"):
    c.Authenticator.allow_all = not users
if login == "password":
    c.SharedPasswordAuthenticator.user_password = os.environ.get("GEOLOOM_HUB_PASSWORD", "")
    c.SharedPasswordAuthenticator.admin_password = os.environ.get("GEOLOOM_HUB_ADMIN_PASSWORD", "")
elif login == "pam":
    c.LocalAuthenticator.create_system_users = False
elif login != "dummy":
    c.OAuthenticator.oauth_callback_url = os.environ.get("GEOLOOM_HUB_OAUTH_CALLBACK", "")
    c.OAuthenticator.client_id = os.environ.get("GEOLOOM_HUB_OAUTH_CLIENT_ID", "")
    c.OAuthenticator.client_secret = os.environ.get("GEOLOOM_HUB_OAUTH_CLIENT_SECRET", "")
    groups_claim = os.environ.get("GEOLOOM_HUB_OIDC_GROUPS_CLAIM", "")
    groups = names("GEOLOOM_HUB_GROUPS")
    admin_groups = names("GEOLOOM_HUB_ADMIN_GROUPS")
    # Everybody whom the provider knows gets in only if that is said in so many words.
    c.OAuthenticator.allow_all = os.environ.get("GEOLOOM_HUB_ALLOW_ALL", "") == "1"
    c.OAuthenticator.allowed_groups = groups | admin_groups if groups else set()
    c.OAuthenticator.admin_groups = admin_groups
if login == "oidc":
    provider = addresses(os.environ.get("GEOLOOM_HUB_OIDC_URL", "").rstrip("/"))
    c.GenericOAuthenticator.login_service = os.environ.get("GEOLOOM_HUB_OIDC_NAME", "your account")
    c.GenericOAuthenticator.authorize_url = provider["authorization_endpoint"]
    c.GenericOAuthenticator.token_url = provider["token_endpoint"]
    c.GenericOAuthenticator.userdata_url = provider["userinfo_endpoint"]
    c.GenericOAuthenticator.username_claim = os.environ.get("GEOLOOM_HUB_OIDC_USERNAME", "preferred_username")
    c.GenericOAuthenticator.scope = os.environ.get("GEOLOOM_HUB_OIDC_SCOPE", "openid profile email").split()
    if groups_claim:
        c.OAuthenticator.manage_groups = True
        c.OAuthenticator.auth_state_groups_key = f"oauth_user.{groups_claim}"
