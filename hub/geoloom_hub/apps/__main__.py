"""Serve the apps: ``python -m geoloom_hub.apps``; the environment tells how (`geoloom_hub.apps.settings`)."""

from __future__ import annotations

import sys

from geoloom_hub.apps.settings import Settings


def main() -> int:
    """Serve until told to stop; a wrong setting is one sentence."""
    try:
        told = Settings.read()
        # Loading Voilà takes seconds: a wrong setting is told before.
        from geoloom_hub.apps.server import run

        run(told)
    except (ValueError, OSError) as error:
        print(f"geoloom apps: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
