"""The page for admins."""

from __future__ import annotations

import re

from geoloom_hub.usage_page import page

LIMITS = {"chains": 5000, "function_time": 120.0, "requests": 0}


def user(name: str, **counts: float) -> dict[str, object]:
    return {"name": name, **counts}


def shown(html: str) -> list[list[str]]:
    """The table's rows below its head."""
    rows = re.findall(r"<tr>(<td>.*?)</tr>", html)
    return [re.findall(r"<td>(.*?)</td>", row) for row in rows]


def test_days_are_added_up_and_the_greatest_user_comes_first() -> None:
    today = {"day": "2026-11-22", "users": [user("user:anna", tiles=10, hits=5, bytes=3_000_000)]}
    before = {
        "day": "2026-11-21",
        "users": [user("user:anna", tiles=30, hits=25, bytes=1e6), user("user:ben", cpu_seconds=12.5)],
    }
    kept = [{"name": "user:anna", "chains": 3, "blobs": 1, "bytes": 2_500_000}]
    rows = shown(page({"days": [today, before], "kept": kept, "limits": LIMITS}, 7))
    assert [row[0] for row in rows] == ["user:ben", "user:anna", "All"]
    assert rows[1][1:4] == ["40", "75 %", "4"]
    assert rows[1][-3:] == ["3", "1", "2.5"]
    assert rows[0][5] == rows[2][5] == "12.5"
    assert rows[0][2] == "–"


def test_names_are_text() -> None:
    html = page(
        {"days": [{"day": "", "users": [user("user:<b onload=x>", tiles=1)]}], "kept": [], "limits": {}}, 1
    )
    assert "<b onload" not in html
    assert "user:&lt;b onload=x&gt;" in html


def test_what_no_user_took_is_told_in_words() -> None:
    today = {"day": "2026-11-22", "users": [user("secret", cpu_seconds=4)]}
    assert shown(page({"days": [today], "kept": [], "limits": {}}, 1))[0][0] == "the engine itself, operator"


def test_nobody_and_no_limits() -> None:
    html = page({"days": [], "kept": [], "limits": LIMITS}, 1)
    assert "Nobody has used the engine" in html
    assert "Each user may take: 5,000 chains, 120 s of functions a minute." in html
    assert "no limits" in page({"days": [], "kept": [], "limits": {"chains": 0}}, 1)
    assert "<script" not in html
