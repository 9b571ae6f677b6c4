"""``python -m geoloom_hub``: start the hub on this machine, stop it, see how it does."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from geoloom_hub.folder import Folder, holder
from geoloom_hub.part import PartError
from geoloom_hub.parts import recipes
from geoloom_hub.settings import BadSetting, Settings
from geoloom_hub.supervisor import AlreadyRunning, Supervisor, end_leftovers

COMMANDS = ("start", "stop", "restart", "status", "self-test")
STOP_SECONDS = 30.0
RESTART_SECONDS = 60.0


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Do what the command line says; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m geoloom_hub", description="JupyterHub on one machine.")
    parser.add_argument("command", nargs="?", choices=COMMANDS, default="start")
    parser.add_argument(
        "part", nargs="?", help="restart: which part; by default hub, which reads its files again"
    )
    parser.add_argument("--keep-servers", action="store_true", help="stop: users' servers go on")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        settings = Settings.read(environ)
        if options.command == "start":
            return start(settings, environ)
        if not settings.home.is_dir():
            raise BadSetting(f"There is no hub in {settings.home}. Name its folder in GEOLOOM_HUB_HOME.")
        # The port is the one that was kept, whatever is set where this is typed.
        folder = Folder.open(settings.home, 0)
        if options.command == "stop":
            return stop(folder, options.keep_servers)
        if options.command == "restart":
            return restart(folder, options.part or "hub")
        if options.command == "self-test":
            return self_test(settings, folder, environ)
        return status(folder)
    except (BadSetting, AlreadyRunning, PartError, OSError) as error:
        print(f"geoloom: {error}", file=sys.stderr)
        return 1


def start(settings: Settings, environ: Mapping[str, str]) -> int:
    """Run until told to stop."""
    supervisor = Supervisor(settings, environ, announce=lambda one: print(welcome(one), flush=True))
    supervisor.run()
    return 0


def welcome(supervisor: Supervisor) -> str:
    """What is said when everything works."""
    lines = [f"geoloom: the hub is at {supervisor.url}/ ; Ctrl-C ends it and all that runs in it"]
    secrets = supervisor.folder.secrets
    if supervisor.settings.login == "password":
        password = supervisor.environ.get("GEOLOOM_HUB_PASSWORD") or secrets["password"]
        admin = supervisor.environ.get("GEOLOOM_HUB_ADMIN_PASSWORD") or secrets["admin_password"]
        admins = supervisor.environ.get("GEOLOOM_HUB_ADMINS") or "admin"
        lines.append(f"geoloom: log in with any name and the password {password}")
        lines.append(f"geoloom: log in as {admins} with the password {admin}")
    return "\n".join(lines)


def stop(folder: Folder, keep_servers: bool) -> int:
    """Stop the hub of a folder, also one whose supervisor was killed."""
    lock = folder.lock("supervisor")
    pid = holder(lock)
    if pid is not None:
        os.kill(pid, signal.SIGUSR1 if keep_servers else signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while holder(lock) is not None:
            if time.monotonic() > deadline:
                print(f"geoloom: the hub (process {pid}) does not stop", file=sys.stderr)
                return 1
            time.sleep(0.05)
        print("geoloom: the hub has stopped" + (", users' servers go on" if keep_servers else ""))
        return 0
    end_leftovers(folder, keep_servers)
    return 0


def restart(folder: Folder, part: str) -> int:
    """End one part; the supervisor starts it again. Waits until it works."""
    # What a supervisor that was killed has left, nobody would start again.
    parts = folder.status().get("parts", {}) if holder(folder.lock("supervisor")) else {}
    if part not in parts or not parts[part]["pid"]:
        print(f"geoloom: no part {part!r} runs; there are: {', '.join(parts) or 'none'}", file=sys.stderr)
        return 1
    begun = time.monotonic()
    os.kill(parts[part]["pid"], signal.SIGTERM)
    while time.monotonic() < begun + RESTART_SECONDS:
        now = folder.status().get("parts", {}).get(part, parts[part])
        if now["starts"] > parts[part]["starts"] and now["ready"]:
            print(f"geoloom: {part} works again, after {time.monotonic() - begun:.1f} s")
            return 0
        time.sleep(0.05)
    log = folder.path / "log" / f"{part}.log"
    print(f"geoloom: {part} does not work after {RESTART_SECONDS:.0f} s; see {log}", file=sys.stderr)
    return 1


def self_test(settings: Settings, folder: Folder, environ: Mapping[str, str]) -> int:
    """Have the engine try what it needs, with the settings that it has in the hub."""
    engine = next(one for one in recipes(settings, folder, environ) if one.name == "engine")
    return subprocess.run([*engine.command, "--self-test"], env=engine.environment, check=False).returncode


def status(folder: Folder) -> int:
    """Print what runs; 0 if everything works."""
    found = folder.status()
    if holder(folder.lock("supervisor")) is None or not found:
        print(f"geoloom: no hub runs in {folder.path}")
        return 1
    print(f"geoloom: {found['url']}/, {'works' if found['ready'] else 'does not work in all its parts'}")
    for name, part in found["parts"].items():
        how = "works" if part["ready"] else "does not work"
        print(f"  {name:8} {how}, process {part['pid']}, started {part['starts']} times")
    return 0 if found["ready"] else 1


if __name__ == "__main__":
    sys.exit(main())
