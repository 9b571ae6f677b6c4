"""What proxies hash by: the same for all tiles below one ancestor two zooms up, another for others."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from geoloom_engine.owners import UP

KEY = "k" + "0123456789abcdef" * 2
EDGES = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    9,
    10,
    11,
    12,
    15,
    16,
    19,
    20,
    27,
    28,
    31,
    99,
    100,
    101,
    107,
    108,
    111,
    112,
    199,
    208,
]


def path(z, x, y, end=".png"):
    return f"/services/tiles/tiles/{KEY}/{z}/{x}/{y}{end}"


class Maps:
    """nginx's `map`, as far as the chart's file uses it."""

    def __init__(self, text):
        self.maps = {}
        for name, body in re.findall(r"^map \$uri \$(\w+) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
            lines = re.findall(r'^    "~(.*)" "(.*)";$', body, re.MULTILINE)
            self.maps[name] = [(re.compile(found.replace("(?<", "(?P<")), value) for found, value in lines]

    def value(self, name, uri):
        """What nginx takes: the first that is found in the address."""
        for pattern, value in self.maps[name]:
            match = pattern.search(uri)
            if match:
                for captured, text in match.groupdict().items():
                    value = value.replace(f"${{{captured}}}", text)
                return value
        return ""

    def ancestor(self, uri):
        return f"{self.value('geoloom_x', uri)} {self.value('geoloom_y', uri)}"


@pytest.fixture(scope="module")
def maps(chart_folder):
    return Maps((chart_folder / "files" / "nginx-map.conf").read_text())


def test_maps_are_read(maps):
    assert {name: len(lines) for name, lines in maps.maps.items()} == {"geoloom_x": 10, "geoloom_y": 10}


def test_numbers_are_grouped_by_four(maps):
    numbers = [*range(1300), *range(99_980, 100_050), *range(2**20 - 40, 2**20)]
    for name, place in (("geoloom_x", lambda n: path(20, n, 5)), ("geoloom_y", lambda n: path(20, 5, n))):
        groups = {}
        for number in numbers:
            found = maps.value(name, place(number))
            assert found, number
            groups.setdefault(found, set()).add(number >> UP)
        # One ancestor in each group, and one group for each ancestor.
        assert all(len(ancestors) == 1 for ancestors in groups.values())
        assert len(groups) == len({number >> UP for number in numbers})


def test_both_numbers_and_the_zoom_count(maps):
    named = {}
    for z in (9, 10):
        for x in EDGES:
            for y in EDGES:
                named.setdefault(maps.ancestor(path(z, x, y)), set()).add((z, x >> UP, y >> UP))
    assert all(len(ancestors) == 1 for ancestors in named.values())
    assert len(named) == 2 * len({x >> UP for x in EDGES}) ** 2


def test_chain_ratio_and_query_do_not_count(maps):
    usual = maps.ancestor(path(10, 533, 361))
    assert maps.ancestor(path(10, 533, 361, "@2x.png")) == usual
    assert maps.ancestor(path(10, 533, 361).replace("k0", "kf")) == usual
    assert maps.ancestor("/lab" + path(10, 533, 361)) == usual


def test_what_is_no_tile_has_no_ancestor(maps):
    for other in (
        f"/services/tiles/legend/{KEY}.png",
        "/services/tiles/events",
        "/services/tiles/basemap/3/2/1.png",
    ):
        assert maps.ancestor(other) == " "


def test_haproxy_divides_by_the_same_number(chart_folder):
    text = (chart_folder / "files" / "haproxy-backend.cfg").read_text()
    assert re.findall(r"div\((\d+)\)", text) == [str(2**UP)] * 2
    assert "hash-type consistent" in text


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_nginx_takes_the_map(chart_folder, tmp_path):
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{\n"
        + (chart_folder / "files" / "nginx-map.conf").read_text()
        + "upstream engines {\n hash $geoloom_ancestor consistent;\n"
        + " server 127.0.0.1:1;\n server 127.0.0.1:2;\n}\n}\n"
    )
    told = subprocess.run(["nginx", "-t", "-c", configuration], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


@pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is not installed")
def test_haproxy_takes_the_snippet(chart_folder, tmp_path):
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(
        "defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n"
        "frontend in\n bind 127.0.0.1:1\n default_backend engines\nbackend engines\n"
        + (chart_folder / "files" / "haproxy-backend.cfg").read_text()
        + " server a 127.0.0.1:2\n server b 127.0.0.1:3\n"
    )
    told = subprocess.run(["haproxy", "-c", "-f", configuration], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
