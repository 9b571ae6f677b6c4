"""The image recipes: linted, pinned, not root; what they name is there, and nothing else gets in."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent.parent
IMAGES = sorted(path.parent.name for path in (ROOT / "hub" / "images").glob("*/Dockerfile"))
each_image = pytest.mark.parametrize("name", IMAGES)

NOT_FOR_IMAGES = (
    ".git/config",
    ".hub/secrets.json",
    ".env",
    "notebooks/data/scene.tif",
    "tests/conftest.py",
    "hub/.env",
)


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction of a recipe."""

    name: str
    rest: str


@functools.cache
def stages(name: str) -> tuple[tuple[Step, ...], ...]:
    """The instructions of a recipe by stage; what stands before the first is in a stage of its own."""
    text = (ROOT / "hub" / "images" / name / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found: list[list[Step]] = [[]]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append(Step(word, " ".join(rest.split())))
    return tuple(map(tuple, found))


def built(name: str) -> list[Step]:
    """All instructions of what is built if no target is named, the bases of its last stage included."""
    named = {stage[0].rest.split(" AS ")[1]: stage for stage in stages(name)[1:] if " AS " in stage[0].rest}
    stage = stages(name)[-1]
    steps = list(stage)
    while (base := stage[0].rest.split()[0]) in named:
        stage = named[base]
        steps = [*stage, *steps]
    return steps


def last(name: str, instruction: str) -> str:
    return [step.rest for step in built(name) if step.name == instruction][-1]


def test_there_are_images() -> None:
    assert IMAGES == ["apps", "engine", "user"]


@each_image
def test_the_linter_has_nothing_to_say(name: str) -> None:
    linter = Path(sys.executable).with_name("hadolint")
    answer = subprocess.run(
        [linter, "--no-color", f"hub/images/{name}/Dockerfile"], cwd=ROOT, capture_output=True, text=True
    )
    assert (answer.returncode, answer.stdout + answer.stderr) == (0, "")


@each_image
def test_a_recipe_builds_in_one_stage_and_runs_in_another(name: str) -> None:
    assert len(stages(name)) >= 3
    copied = [step.rest for step in built(name) if step.name == "COPY"]
    assert any(rest.startswith("--from=build /opt/geoloom ") for rest in copied)
    assert not any(step.name == "ADD" for stage in stages(name) for step in stage)


@each_image
def test_bases_are_pinned(name: str) -> None:
    arguments = {step.rest.split("=")[0]: step.rest.split("=")[1] for step in stages(name)[0]}
    known = {stage[0].rest.partition(" AS ")[2] for stage in stages(name)[1:]}
    for stage in stages(name)[1:]:
        base = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], stage[0].rest.split()[0])
        assert base in known or re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+[\w.-]*", base), base


@each_image
def test_nobody_is_root(name: str) -> None:
    assert last(name, "USER") == "1000:1000"
    made = " ".join(step.rest for step in built(name) if step.name == "RUN")
    assert "useradd --uid 1000 --gid 1000" in made
    # Its programs belong to root, so that a program that was broken into cannot change them.
    assert not any("--chown" in step.rest for step in built(name) if step.name == "COPY")


@each_image
def test_no_secret_is_in_a_recipe(name: str) -> None:
    secret = re.compile(r"(?i)\b\w*(token|secret|password|signing_key|private_key)\w*\s*=")
    told = [
        step.rest for stage in stages(name) for step in stage if step.name in ("ENV", "ARG", "LABEL", "RUN")
    ]
    assert [rest for rest in told if secret.search(rest)] == []


@each_image
def test_a_recipe_starts_what_is_there(name: str) -> None:
    command = json.loads(last(name, "CMD"))
    if command[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(command[2]) is not None
    else:
        assert f"{command[0]} = " in (ROOT / "setup.cfg").read_text()


def ignored(path: str) -> bool:
    """What ``.dockerignore`` says of a file: the last pattern that it, or a folder it is in, meets."""
    parts = path.split("/")
    names = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#"):
            kept = pattern.startswith("!")
            # Docker's stars stop at slashes, but for two of them.
            rest = re.escape(pattern.removeprefix("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
            if any(re.fullmatch(rest, one) for one in names):
                out = not kept
    return out


@each_image
def test_what_is_copied_is_there_and_let_through(name: str) -> None:
    for stage in stages(name):
        for step in stage:
            if step.name != "COPY" or step.rest.startswith("--from="):
                continue
            *wanted, _ = shlex.split(step.rest)
            for pattern in wanted:
                found = [path.relative_to(ROOT) for path in ROOT.glob(pattern)]
                assert found, f"{pattern} is not there"
                files = [path for path in found if (ROOT / path).is_file()]
                files += [
                    next((ROOT / path).rglob("*.py")).relative_to(ROOT) for path in found if path not in files
                ]
                assert [str(path) for path in files if ignored(str(path))] == []


@pytest.mark.parametrize("path", NOT_FOR_IMAGES)
def test_nothing_else_is_let_through(path: str) -> None:
    assert ignored(path)
    assert ignored("client_lib/geoloom/__pycache__/map.cpython-313.pyc")
    assert ignored("notebooks/data/x.ipynb")
    assert not ignored("client_lib/geoloom/map.py")


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers as the engine and the apps do when they are asked for their health."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path in ("/healthz", "/services/apps/health") else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@each_image
def test_the_health_check_tells_whether_it_answers(name: str) -> None:
    options, _, command = last(name, "HEALTHCHECK").partition(" CMD ")
    assert re.search(r"--start-period=\d+s", options)
    assert re.search(r"--timeout=\d+s", options)
    program, *arguments = json.loads(command)
    assert program == "python"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        port = server.server_address[1]
        expected = re.search(r"EXPOSE (\d+)", "\n".join(f"{one.name} {one.rest}" for one in built(name)))
        assert expected is not None
        there = [one.replace(expected[1], str(port)) for one in arguments]
        given = {
            "GEOLOOM_PORT": str(port),
            "JUPYTERHUB_SERVICE_PREFIX": "/services/apps/",
            "PATH": os.environ["PATH"],
        }
        run = functools.partial(
            subprocess.run, env=given, capture_output=True, text=True, timeout=60, check=False
        )
        answer = run([sys.executable, "-I", *there])
        server.shutdown()
        thread.join()
    assert answer.returncode == 0, answer.stderr
    assert run([sys.executable, "-I", *there]).returncode == 1


@pytest.fixture(scope="module")
def pin_images() -> ModuleType:
    """``tools/pin_images.py``."""
    spec = importlib.util.spec_from_file_location("pin_images", ROOT / "tools" / "pin_images.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def spelled(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@each_image
def test_every_package_is_pinned_as_setup_cfg_wants_it(name: str, pin_images: ModuleType) -> None:
    lines = (ROOT / "hub" / "images" / name / "requirements.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    found = {spelled(package): version for package, version in pins.items()}
    linux = {"sys_platform": "linux", "platform_machine": "x86_64"}
    for line in pin_images.requirements(name):
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate(linux):
            assert spelled(wanted.name) in found, f"{line}: run tools/pin_images.py {name}"
            version = found[spelled(wanted.name)]
            assert wanted.specifier.contains(version, prereleases=True), f"{line} is not {version}"


@each_image
def test_a_recipe_installs_the_pins(name: str) -> None:
    ran = [step.rest for stage in stages(name) for step in stage if step.name == "RUN"]
    assert sum("pip install --requirement /build/requirements.txt" in rest for rest in ran) == 1
    assert (
        sum(
            "pip install --no-deps ." in rest and ("pip check" in rest or "walk_packages" in rest)
            for rest in ran
        )
        == 1
    )
