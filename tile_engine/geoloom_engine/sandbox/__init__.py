"""Where users' functions run: processes that can do nothing but compute."""
