"""Memo: what was made once is made again only after it was forgotten."""

from __future__ import annotations

from geoloom_engine.memo import Memo


def test_memo_makes_once_and_forgets_by_weight() -> None:
    made: list[str] = []

    def make(key: str) -> str:
        made.append(key)
        return key * 10

    memo: Memo[str] = Memo(25, len)
    assert [memo.get(key, lambda key=key: make(key)) for key in "aab"] == ["a" * 10, "a" * 10, "b" * 10]
    memo.get("c", lambda: make("c"))
    memo.get("a", lambda: make("a"))
    assert made == ["a", "b", "c", "a"]
    memo.clear()
    memo.get("a", lambda: make("a"))
    assert made[-1] == "a"
    assert len(made) == 5
