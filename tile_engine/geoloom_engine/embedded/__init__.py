"""The embedded engine of one user: a supervisor with an engine and a Valkey as children.

`geoloom.local` starts ``python -m geoloom_engine.embedded``. It runs an engine and, unless
``GEOLOOM_REDIS_URL`` is set, a Valkey, starts them again if they end, and ends them and itself some time
after the last kernel gave up its lease. `geoloom.local` describes the runtime folder they share. The data
folder holds what lives longer::

    claim         held by supervisor, engine and Valkey: free only when the last of them is gone
    port          the engine's port, taken again so that open maps recover
    signing.key   signs layer URLs, for the same reason
    valkey/       saved chains
"""
