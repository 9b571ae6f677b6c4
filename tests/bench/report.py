"""The table, the page of the docs and the figures as JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.cases import Case
from bench.measure import Sample
from bench.pixels import Agreement


@dataclass(frozen=True, slots=True)
class Row:
    """One case's medians, by who answered: ``png``, ``pngraw``, ``stacked``, ``warm``, ``cold``."""

    case: Case
    samples: dict[str, Sample]
    agreement: Agreement | None = None

    def ratio(self, engine: str, titiler: str = "png") -> float | None:
        """How many times more processor time TiTiler took."""
        ours, theirs = self.samples.get(engine), self.samples.get(titiler)
        return None if ours is None or theirs is None else theirs.cpu_ms / ours.cpu_ms

    @property
    def small_enough(self) -> bool:
        """Whether the engine's tiles are no larger than TiTiler's."""
        ours, theirs = self.samples.get("warm"), self.samples.get("png")
        return ours is None or theirs is None or ours.kilobytes <= theirs.kilobytes


@dataclass(frozen=True, slots=True)
class Finding:
    """A further measure with its target, if it has one."""

    what: str
    value: float
    unit: str = ""
    least: float | None = None
    most: float | None = None
    note: str = ""
    section: str = "Further measures"

    @property
    def verdict(self) -> str:
        """``ok``, ``miss``, or nothing without a target."""
        if self.least is None and self.most is None:
            return ""
        fine = (self.least is None or self.value >= self.least) and (
            self.most is None or self.value <= self.most
        )
        return "ok" if fine else "**miss**"

    @property
    def shown(self) -> str:
        """The value with its unit."""
        return f"{self.value:.3g}{self.unit}"

    @property
    def target(self) -> str:
        """The target in words."""
        if self.least is not None:
            return f"≥ {self.least:g}{self.unit}"
        return "" if self.most is None else f"≤ {self.most:g}{self.unit}"


@dataclass(slots=True)
class Report:
    """All of a run.

    Parameters
    ----------
    about
        The run's conditions, by name.
    """

    about: dict[str, str]
    rows: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def misses(self) -> list[str]:
        """What fell short of its target."""
        short = [
            f"{row.case.name} {kind}"
            for row in self.rows
            for kind in ("warm", "cold")
            if _verdict(row, kind) == "**miss**"
        ]
        short += [f"{row.case.name} kB" for row in self.rows if not row.small_enough]
        return short + [one.what for one in self.findings if one.verdict == "**miss**"]

    def markdown(self) -> str:
        """The page of the docs."""
        parts = [_HEAD]
        if self.rows:
            parts += ["## Processor time per tile", _CASES_NOTE, _cases(self.rows)]
            parts += ["## What the client saw", _SEEN_NOTE, _seen(self.rows)]
        if any(row.agreement for row in self.rows):
            parts += ["## The same picture", _PIXELS_NOTE, _pixels(self.rows)]
        for section in dict.fromkeys(one.section for one in self.findings):
            parts += [f"## {section}", *_SECTIONS.get(section, ())]
            parts.append(_further([one for one in self.findings if one.section == section]))
        parts += ["## The run", _table(("", ""), [(name, value) for name, value in self.about.items()])]
        return "\n\n".join(parts) + "\n"

    def to_json(self) -> str:
        """All figures."""
        rows = [
            {
                "case": row.case.name,
                "targets": {"warm": row.case.warm, "cold": row.case.cold},
                "ratios": {kind: row.ratio(kind) for kind in ("warm", "cold")},
                "samples": {name: asdict(sample) for name, sample in row.samples.items()},
                "agreement": asdict(row.agreement) if row.agreement else None,
            }
            for row in self.rows
        ]
        findings = [{**asdict(one), "verdict": one.verdict.strip("*")} for one in self.findings]
        return json.dumps({"about": self.about, "cases": rows, "further": findings}, indent=1) + "\n"


_SHOWN = ("geoloom", "numpy", "numba", "tornado", "isal", "gdal-wheel")

_HEAD = """# Benchmarks

The engine beside [TiTiler](https://developmentseed.org/titiler/), on the same files, tiles, ramps and
resampling, both over HTTP, in one run whose servers take turns. This page is written by `make bench`; its
figures as JSON lie beside it, under the same name. Ratios within a run say much more than
milliseconds: a noisy machine moves both sides alike."""

_CASES_NOTE = """Milliseconds of processor time per tile (256 px, zoom 13, unless said otherwise), medians
of the rounds: the whole process tree of each server, for the engine with its supervisor and its Valkey.
× is TiTiler's divided by the engine's. **Warm**: decoded blocks are in memory; **cold**: they are not. No
tiles and no results of steps are kept in either, except in *e*, which runs with all caches. *.pngraw* is
TiTiler's fastest PNG. In *u* both run the same numpy function: TiTiler in its own process, the engine in its
sandbox. TiTiler reads *u* and a mosaic from files of four bands, its best case; the engine reads them from
one file per band."""

_SEEN_NOTE = """Eight connections, each of which asks for the next tile when it has the last. *Stacked* is
TiTiler's way from one file with all bands. *Read* is what the server reads per tile, from files and
sockets."""

_PIXELS_NOTE = """Before a case is timed, tiles of both are compared with an exact computation: every
pixel's position by PROJ, without approximation. Shades of 0 to 255 count as equal within rounding to the
colours of the ramp. TiTiler's positions are approximate, so *near* is the share of its pixels that show a
value the files hold within one pixel (bilinear: two) of the right place."""


_SECTIONS = {
    "Mosaics and composites": (
        """Milliseconds of processor time per tile (256 px, zoom 14) of one band, as above. The dates are made
up: of each, 60 % is under clouds and invalid. TiTiler gets the list of files in its URL and its
`pixel_selection`.""",
    ),
}
"""What is said before the figures of a section."""


def _cases(rows: Sequence[Row]) -> str:
    judged = ("×", "target", "")
    raw = (".pngraw ms", "warm ×", "cold ×")
    header = (
        "case",
        "",
        "TiTiler ms",
        "warm ms",
        *judged,
        "cold ms",
        *judged,
        *raw,
        "TiTiler kB",
        "engine kB",
    )
    lines = []
    for row in rows:
        line = [row.case.name, row.case.title, _ms(row, "png")]
        for kind, target in (("warm", row.case.warm), ("cold", row.case.cold)):
            least = f"≥ {target:g}" if target and kind in row.samples else ""
            line += [_ms(row, kind), _times(row.ratio(kind)), least, _verdict(row, kind)]
        line += [_ms(row, "pngraw"), _times(row.ratio("warm", "pngraw")), _times(row.ratio("cold", "pngraw"))]
        larger = "" if row.small_enough else " **miss**"
        lines.append((*line, _kilobytes(row, "png"), _kilobytes(row, "warm") + larger))
    return _table(header, lines)


def _seen(rows: Sequence[Row]) -> str:
    names = {
        "png": "TiTiler .png",
        "pngraw": "TiTiler .pngraw",
        "stacked": "TiTiler .png, stacked",
        "warm": "engine warm",
        "cold": "engine cold",
    }
    return _table(
        ("case", "server", "ms", "p50 ms", "p95 ms", "tiles/s", "read kB", "Valkey ms", "RSS MB"),
        [
            (
                row.case.name,
                names[kind],
                _ms(row, kind),
                f"{one.p50_ms:.2f}",
                f"{one.p95_ms:.2f}",
                f"{one.rate:.0f}",
                f"{one.read_kb:.1f}",
                f"{one.store_ms:.3f}" if kind in ("warm", "cold") else "",
                f"{one.resident_mb:.0f}",
            )
            for row in rows
            for kind, one in row.samples.items()
        ],
    )


def _pixels(rows: Sequence[Row]) -> str:
    header = (
        "case",
        "engine exact",
        "TiTiler exact",
        "TiTiler near",
        "the same in both",
        "mean difference, of 255",
    )
    return _table(
        header,
        [
            (
                row.case.name,
                *(
                    f"{share:.2%}"
                    for share in (one.engine_exact, one.titiler_exact, one.titiler_near, one.alike)
                ),
                f"{one.mean_steps:+.2f}",
            )
            for row in rows
            if (one := row.agreement)
        ],
    )


def _further(findings: Sequence[Finding]) -> str:
    return _table(
        ("measure", "", "target", "", ""),
        [(one.what, one.shown, one.target, one.verdict, one.note) for one in findings],
    )


def _ms(row: Row, kind: str) -> str:
    return f"{row.samples[kind].cpu_ms:.2f}" if kind in row.samples else ""


def _kilobytes(row: Row, kind: str) -> str:
    return f"{row.samples[kind].kilobytes:.1f}" if kind in row.samples else ""


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.1f}"


def _verdict(row: Row, kind: str) -> str:
    target, ratio = (row.case.warm if kind == "warm" else row.case.cold), row.ratio(kind)
    if target is None or ratio is None:
        return ""
    return "ok" if ratio >= target else "**miss**"


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    cells = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def about(command: str, titiler: Path | None, **more: Any) -> dict[str, str]:
    """The conditions of a run: machine, versions, data, command."""
    found = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "command": f"`{command}`",
        "commit": _output("git", "rev-parse", "--short", "HEAD"),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GB",
        "kernel": f"{platform.system()} {platform.release()}",
        "engine's Python": f"{platform.python_version()}, {_versions(*_SHOWN)}",
    }
    if titiler is not None:
        script = (
            "import platform; from importlib.metadata import version;"
            "print(platform.python_version(), *(f'{n} {version(n)}' for n in"
            " ('titiler.core', 'rio-tiler', 'rasterio', 'numpy', 'uvicorn')), sep=', ')"
        )
        found["TiTiler's Python"] = _output(str(titiler / "bin" / "python"), "-c", script)
    return {**found, **{name.replace("_", " "): str(value) for name, value in more.items()}}


def _versions(*names: str) -> str:
    found = []
    for name in names:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    return done.stdout.strip()
