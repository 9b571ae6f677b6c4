"""STAC APIs: a server is asked what it understands of a query; all of the query is checked here."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import shapely
from pystac_client.exceptions import APIError
from pystac_client.item_search import ItemSearch
from pystac_client.stac_api_io import StacApiIO
from urllib3.util.retry import Retry

from geoloom.errors import RequestError, SourceUnreadable
from geoloom.query import Query
from geoloom_engine.catalog import columns
from geoloom_engine.catalog.geoparquet import moment, to_table
from geoloom_engine.catalog.index import Index, arranged
from geoloom_engine.catalog.static import assets_of

if TYPE_CHECKING:
    from geoloom_engine.catalog.catalogues import StaticCatalog

Json = dict[str, Any]

PAGE = 250
MOST = 20_000
"""Items that one search gets from a server."""

PATIENCE = 25.0
"""Seconds that one search may take in all."""

FRESH = 300.0

_FEW_IDS = 500
_QUERY = {"==": "eq", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte", "in": "in"}
_CQL = {"==": "=", "<": "<", "<=": "<=", ">": ">", ">=": ">=", "in": "in"}


class ApiCatalog:
    """A STAC API; or, if there is none at the address, the static catalogue there. Thread-safe.

    Parameters
    ----------
    url
        Of its landing page.
    timeout
        Seconds without an answer after which a request fails.
    otherwise
        The static catalogue at the address.
    recheck
        Seconds for which its collections count as fresh.
    """

    def __init__(
        self, url: str, timeout: float, otherwise: StaticCatalog, recheck: float | None = None
    ) -> None:
        self._url = url
        self._timeout = timeout
        self._static = otherwise
        self._recheck = FRESH if recheck is None else recheck
        self._lock = threading.Lock()
        self._landing: _Landing | None = None
        self._collections: dict[str, Json] = {}
        self._looked = -float("inf")

    def collections(self) -> tuple[Mapping[str, Json], list[str]]:
        """The server's collections by id.

        Raises
        ------
        SourceUnreadable
            It does not answer as it should; one sentence.
        """
        landing = self._land()
        if landing.search is None:
            return self._static.collections()
        with self._lock:
            if time.monotonic() - self._looked < self._recheck:
                return self._collections, []
            found: dict[str, Json] = {}
            begun = time.monotonic()
            with _Said(self):
                for page in self._io().get_pages(landing.collections, "GET"):
                    for one in page.get("collections") or []:
                        if isinstance(one, dict) and isinstance(one.get("id"), str):
                            found[one["id"]] = one
                    self._check_patience(begun)
            self._collections, self._looked = found, time.monotonic()
            return found, []

    def count(self, collection: str, query: Query) -> int:
        """How many items a query finds, by the server's own count if it understands all of the query."""
        landing = self._land()
        if landing.search is None:
            return self._static.count(collection, query)
        asked, rest = self._asked(landing, collection, query)
        if not rest:
            with _Said(self):
                search = self._search(landing, asked, 1)
                page = next(iter(search.pages_as_dicts()), {})
            context = page.get("context")
            told = (context if isinstance(context, dict) else {}).get("matched", page.get("numberMatched"))
            if not page:
                return 0
            if isinstance(told, int):
                return told if query.limit is None else min(told, query.limit)
        return self._found(landing, collection, query, MOST)[0]

    def items(self, collection: str, query: Query, most: int, whole: bool = True) -> tuple[int, list[Json]]:
        """How many items a query finds, and the first of them, in its order.

        The number is that of the items looked at, if the server was asked for the first ones only.
        """
        landing = self._land()
        if landing.search is None:
            return self._static.items(collection, query, most, whole)
        return self._found(landing, collection, query, most)

    def properties(self, collection: str) -> Json:
        """Nothing that the collection does not say itself."""
        landing = self._land()
        return self._static.properties(collection) if landing.search is None else {}

    def _found(self, landing: _Landing, collection: str, query: Query, most: int) -> tuple[int, list[Json]]:
        asked, rest = self._asked(landing, collection, query)
        wanted = min(most, query.limit or most)
        first = not rest and landing.sorts and wanted < MOST
        if first:
            asked["sortby"] = _sorting(query)
        items = []
        begun = time.monotonic()
        with _Said(self):
            for page in self._search(landing, asked, wanted if first else MOST + 1).pages_as_dicts():
                items += [one for one in page["features"] if _is_item(one)]
                self._check_patience(begun)
        if len(items) > MOST:
            raise RequestError(
                f"The server {self._url} has more than {MOST:,} items for this query.",
                hint="Filter by place or date, or set a limit.",
            )
        for item in items:
            self._make_absolute(item)
        index = Index(arranged(columns.of_items(to_table(items), 0), {}))
        found = index.search(query)
        return len(found), [items[at] for at in index.places(found[:most])[1].tolist()]

    def _asked(self, landing: _Landing, collection: str, query: Query) -> tuple[Json, bool]:
        """What the server is asked, and whether some of the query is left for here."""
        asked: Json = {"collections": [collection]}
        rest = bool(query.months) or query.near is not None or len(query.areas) > 1
        if query.areas:
            area = shapely.from_geojson(_text(query.areas[0]))
            asked["intersects"] = shapely.geometry.mapping(area)
        if query.ids:
            if len(query.ids) <= _FEW_IDS:
                asked["ids"] = list(query.ids)
            rest = rest or len(query.ids) > _FEW_IDS
        if query.dates:
            start = max(low for low, _ in query.dates)
            end = min(high for _, high in query.dates)
            # The server's range holds its end too.
            asked["datetime"] = f"{start}/{_before(end)}" if start < end else f"{start}/{start}"
            rest = rest or start >= end
        told = [(name, op, value) for name, op, value in query.where if op in _QUERY and name != "id"]
        rest = rest or len(told) < len(query.where)
        if told and landing.queries:
            conditions: Json = {}
            for name, op, value in told:
                conditions.setdefault(name, {})[_QUERY[op]] = list(value) if op == "in" else value
            rest = rest or sum(map(len, conditions.values())) < len(told)
            asked["query"] = conditions
        elif told and landing.filters:
            parts = [
                {"op": _CQL[op], "args": [{"property": name}, list(value) if op == "in" else value]}
                for name, op, value in told
            ]
            asked["filter"] = parts[0] if len(parts) == 1 else {"op": "and", "args": parts}
            asked["filter_lang"] = "cql2-json"
        else:
            rest = rest or bool(told)
        return asked, rest

    def _search(self, landing: _Landing, asked: Json, most: int) -> ItemSearch:
        assert landing.search is not None
        return ItemSearch(
            landing.search,
            method=landing.method,
            stac_io=self._io(),
            max_items=most,
            limit=min(most, PAGE),
            **asked,
        )

    def _io(self) -> StacApiIO:
        # A server that stalls is waited for once; one that says it is busy is asked again.
        again = Retry(
            total=2, connect=1, read=0, status=2, backoff_factor=0.2, status_forcelist=(429, 502, 503, 504),
            allowed_methods=None, raise_on_status=False, respect_retry_after_header=False,
        )  # fmt: skip
        return StacApiIO(timeout=self._timeout, max_retries=again)

    def _land(self) -> _Landing:
        with self._lock:
            if self._landing is None:
                with _Said(self):
                    try:
                        page = self._io().read_json(self._url)
                    except (APIError, ValueError) as error:
                        if isinstance(error, APIError) and getattr(error, "status_code", None) != 404:
                            raise
                        # No API; perhaps the folder of a static catalogue. An API may come back.
                        return _Landing({}, self._url)
                self._landing = _Landing(page, self._url)
            return self._landing

    def _check_patience(self, begun: float) -> None:
        if time.monotonic() - begun > PATIENCE:
            raise SourceUnreadable(
                f"The catalogue {self._url} has not given all of its answer within {PATIENCE:g} seconds.",
                hint="Filter by place or date, or set a limit.",
            )

    def _make_absolute(self, item: Json) -> None:
        links = item.get("links")
        listed = [one for one in links if isinstance(one, dict)] if isinstance(links, list) else []
        own = [one.get("href") for one in listed if one.get("rel") == "self"]
        base = own[0] if own and isinstance(own[0], str) else self._url
        for asset in assets_of(item):
            if "://" not in asset["href"]:
                asset["href"] = urljoin(base, asset["href"])

    def said(self, error: Exception) -> SourceUnreadable:
        """What went wrong with a request, in one sentence."""
        status = getattr(error, "status_code", None)
        text = str(error)
        if status:
            reason = {401: "wants credentials", 403: "refuses", 429: "is asked too often", 503: "is busy"}
            what = f"answered {status}" + (f": it {reason[status]}" if status in reason else "")
        elif "timed out" in text.lower():
            what = f"did not answer within {self._timeout:g} seconds"
        elif isinstance(error, APIError):
            what = "cannot be reached" if "Connection" in text or "resolve" in text else "failed"
        else:
            what = "answered with what is no STAC"
        return SourceUnreadable(
            f"The catalogue {self._url} {what}.",
            hint="Try again later, or check the address in GEOLOOM_CATALOGS.",
        )


class _Said:
    """Turns failures of requests into one sentence."""

    def __init__(self, catalogue: ApiCatalog) -> None:
        self._catalogue = catalogue

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(
            error, APIError | ValueError | KeyError | TypeError | AttributeError
        ) and not isinstance(error, RequestError):
            raise self._catalogue.said(error) from None


class _Landing:
    """What an API's landing page says: where to search, and what is understood."""

    def __init__(self, page: Any, url: str) -> None:
        links = [
            one
            for one in page.get("links") or ()
            if isinstance(one, dict) and isinstance(one.get("href"), str)
        ]
        searches = [one for one in links if one.get("rel") == "search"]
        posts = [one for one in searches if str(one.get("method", "")).upper() == "POST"]
        chosen = next(iter([*posts, *searches]), None)
        self.search = None if chosen is None else urljoin(url, chosen["href"])
        self.method = "POST" if posts else "GET"
        data = [one["href"] for one in links if one.get("rel") == "data"]
        self.collections = urljoin(url, data[0]) if data else url.rstrip("/") + "/collections"
        conforms = [one for one in page.get("conformsTo") or () if isinstance(one, str)]
        self.queries = _any(conforms, "item-search#query")
        self.filters = _any(conforms, "cql2-json") and _any(conforms, "item-search#filter")
        self.sorts = _any(conforms, "item-search#sort")


def _any(conforms: list[str], part: str) -> bool:
    return any(part in one for one in conforms)


def _sorting(query: Query) -> list[Json]:
    orders = [*query.sort]
    orders += [
        one for one in (("datetime", "desc"), ("id", "asc")) if one[0] not in [name for name, _ in orders]
    ]
    return [
        {"field": name if name == "id" else f"properties.{name}", "direction": direction}
        for name, direction in orders
    ]


def _is_item(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("id"), str)


def _before(end: str) -> str:
    """The last millisecond before a moment."""
    found = moment(end)
    assert found is not None
    return (found - timedelta(milliseconds=1)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(geometry: Mapping[str, Any]) -> str:
    return json.dumps(geometry)
