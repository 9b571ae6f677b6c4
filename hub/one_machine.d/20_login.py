"""Who may log in, and how.

GEOLOOM_HUB_LOGIN names the way:

password    any name, with one password for all (and another for admins): for trying out
dummy       any name, any password: for tests
pam         the machine's own users and passwords
oidc        any OpenID Connect provider, told by GEOLOOM_HUB_OIDC_…
otherwise   a name that an authenticator's package registers: github, gitlab, google, azuread, …
"""

import os


def names(variable):
    """Names in a variable, between commas."""
    return {name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()}


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
    base = os.environ.get("GEOLOOM_HUB_OIDC_URL", "").rstrip("/")
    c.GenericOAuthenticator.login_service = os.environ.get("GEOLOOM_HUB_OIDC_NAME", "your account")
    c.GenericOAuthenticator.authorize_url = os.environ.get("GEOLOOM_HUB_OIDC_AUTHORIZE", f"{base}/authorize")
    c.GenericOAuthenticator.token_url = os.environ.get("GEOLOOM_HUB_OIDC_TOKEN", f"{base}/token")
    c.GenericOAuthenticator.userdata_url = os.environ.get("GEOLOOM_HUB_OIDC_USERINFO", f"{base}/userinfo")
    c.GenericOAuthenticator.username_claim = os.environ.get("GEOLOOM_HUB_OIDC_USERNAME", "preferred_username")
    c.GenericOAuthenticator.scope = os.environ.get("GEOLOOM_HUB_OIDC_SCOPE", "openid profile email").split()
    if groups_claim:
        c.OAuthenticator.manage_groups = True
        c.OAuthenticator.auth_state_groups_key = f"oauth_user.{groups_claim}"
