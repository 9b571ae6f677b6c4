"""Attributes of features as arrays, and tables of the user's joined to them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoloom.block import Array
from geoloom.errors import RequestError

Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Column:
    """One attribute of some features.

    Parameters
    ----------
    numbers
        float64, NaN where there is no value; None of texts.
    codes
        int32 into `categories`, −1 where there is no value; None of numbers.
    categories
        The different texts, in no order.
    boolean
        Whether the numbers stand for False (0) and True (1).
    """

    numbers: Array | None
    codes: Array | None = None
    categories: tuple[str, ...] = ()
    boolean: bool = False

    @property
    def nbytes(self) -> int:
        """Memory it takes, about."""
        own = sum(one.nbytes for one in (self.numbers, self.codes) if one is not None)
        return own + sum(80 + len(one) for one in self.categories)

    def __len__(self) -> int:
        return len(self.numbers if self.codes is None else self.codes)  # type: ignore[arg-type]

    def take(self, places: Array) -> Column:
        """The values at some places; none at −1."""
        gaps = places < 0
        if self.numbers is not None:
            source = self.numbers if len(self.numbers) else np.full(1, np.nan)
            return Column(np.where(gaps, np.nan, source[places]), boolean=self.boolean)
        assert self.codes is not None
        codes = self.codes if len(self.codes) else np.full(1, -1, np.int32)
        return Column(None, np.where(gaps, -1, codes[places]).astype(np.int32), self.categories)

    def value(self, row: int) -> Value:
        """One value, as JSON takes it."""
        if self.numbers is not None:
            return self.told(float(self.numbers[row]))
        assert self.codes is not None
        code = int(self.codes[row])
        return None if code < 0 else self.categories[code]

    def told(self, number: float) -> Value:
        """A number of the column, as JSON takes it."""
        if math.isnan(number):
            return None
        return bool(number) if self.boolean else int(number) if number.is_integer() else number

    def distinct(self) -> tuple[list[str], Array]:
        """The different values as text (whole numbers have no point), and of each feature which, −1: none."""
        if self.numbers is None:
            assert self.codes is not None
            return list(self.categories), self.codes
        there = ~np.isnan(self.numbers)
        values, inverse = np.unique(self.numbers[there], return_inverse=True)
        codes = np.full(len(self.numbers), -1, np.int32)
        codes[there] = inverse
        return [_text(value) for value in values.tolist()], codes


def column_of(values: Any) -> Column:
    """The column of a pyarrow (chunked) array."""
    import pyarrow

    kind = values.type
    if pyarrow.types.is_boolean(kind) or pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind):
        parts = values.chunks if hasattr(values, "chunks") else [values]
        found = [
            part.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False) for part in parts
        ] or [np.empty(0)]
        numbers = np.concatenate(found).astype(np.float64, copy=False)
        numbers = np.where(np.isfinite(numbers), numbers, np.nan)
        return Column(numbers, boolean=pyarrow.types.is_boolean(kind))
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        values = values.cast(pyarrow.large_binary())
    elif not pyarrow.types.is_binary(kind) and not pyarrow.types.is_large_binary(kind):
        try:
            values = values.cast(pyarrow.string()).cast(pyarrow.large_binary())
        except (pyarrow.ArrowNotImplementedError, pyarrow.ArrowInvalid):
            texts = [None if one is None else str(one).encode() for one in values.to_pylist()]
            values = pyarrow.chunked_array([pyarrow.array(texts, pyarrow.large_binary())])
    chunks = values.chunks if isinstance(values, pyarrow.ChunkedArray) else [values]
    joined = pyarrow.concat_arrays(chunks) if chunks else pyarrow.array([], values.type)
    encoded = joined.dictionary_encode()
    # Files say that their texts are UTF-8, and some lie.
    categories = tuple(one.decode("utf-8", "replace") for one in encoded.dictionary.to_pylist())
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return Column(None, codes, categories)


def column_of_values(values: Sequence[Any]) -> Column:
    """The column of plain values: numbers if all that are there are, else texts."""
    there = [one for one in values if one is not None]
    if all(isinstance(one, int | float) for one in there):
        return Column(np.array([np.nan if one is None else float(one) for one in values], np.float64))
    texts = [None if one is None else one if isinstance(one, str) else _text(one) for one in values]
    known = {text: code for code, text in enumerate(dict.fromkeys(one for one in texts if one is not None))}
    codes = np.array([-1 if one is None else known[one] for one in texts], np.int32)
    return Column(None, codes, tuple(known))


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the user's.

    Parameters
    ----------
    on
        Attribute of the features whose text is looked up.
    columns
        By name: values by that text.
    """

    on: str
    columns: Mapping[str, Mapping[str, Value]]

    @staticmethod
    def of(content: bytes) -> Table:
        """The table of a blob.

        Raises
        ------
        RequestError
            If it is none.
        """
        try:
            told = json.loads(content)
            on, columns = told["on"], told["columns"]
            right = isinstance(on, str) and all(isinstance(one, dict) for one in columns.values())
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            right = False
        if not right:
            raise RequestError("The table to join is no table as Geoloom writes it.")
        return Table(on, columns)

    def joined(self, name: str, keys: Column) -> Column:
        """One of its columns for features with these keys."""
        values = self.columns[name]
        texts, codes = keys.distinct()
        return column_of_values([values.get(text) for text in texts]).take(codes.astype(np.int64))


def _text(number: Any) -> str:
    if isinstance(number, float) and number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    return str(number)
