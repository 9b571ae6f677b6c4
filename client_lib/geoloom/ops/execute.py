"""The user's own numpy function."""

from __future__ import annotations

import json
from typing import Any

from geoloom.chain import canonical
from geoloom.errors import EngineFault, ParameterError
from geoloom.given import DTYPES
from geoloom.grid import Grid
from geoloom.harness import DEFAULT_MODULES
from geoloom.op import BlobKey, Image, Op, Profile, image, op, param

MOST_MARGIN = 512
"""Pixels around a tile that a function may ask for."""

LONGEST_ARGUMENTS = 100_000
"""Characters of its arguments as JSON."""


@op
class Execute(Op):
    """The result of a numpy function of one's own, which the engine runs in a sandbox.

    In the notebook this is ``image.execute(f, …)``, which finds all parameters by itself.
    """

    values: Image = image(doc="The image: the function gets it as an array (bands, rows, cols).")
    text: BlobKey = param(doc="Key of the text that defines the function.", example="0" * 32)
    main: str = param(doc="Name of the function in the text.", example="stubble")
    arguments: str = param("[[],{}]", doc="Its positional and named arguments, as canonical JSON.")
    around: int = param(0, ge=0, le=MOST_MARGIN, unit="pixel", doc="Pixels it needs around each tile.")
    modules: tuple[str, ...] = param(DEFAULT_MODULES[:1], doc="Modules that the text imports.")
    dtype: str = param("float32", doc="The result's dtype, by its name in numpy.")
    bands: tuple[str, ...] = param(("result",), min_length=1, doc="Names of the result's bands.")
    method = False
    sandboxed = True

    def __repr__(self) -> str:
        args, kwargs = self.call()
        given = [self.main, *map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
        if self.around:
            given.append(f"margin={self.around}")
        return f"execute({', '.join(given)})"

    def check(self) -> None:
        """Names are names, the dtype is known and the arguments are canonical."""
        if not self.main.isidentifier():
            raise ParameterError(f"execute(main=…): {self.main[:60]!r} is no name of a function.")
        if self.dtype not in DTYPES:
            raise ParameterError(
                f"execute(dtype=…): {self.dtype[:60]!r} is not the dtype of an image.",
                hint=f"These are: {', '.join(sorted(DTYPES))}.",
            )
        if len(set(self.bands)) < len(self.bands):
            raise ParameterError("execute(bands=…): two bands have one name.")
        if len(self.arguments) > LONGEST_ARGUMENTS:
            raise ParameterError(
                "execute(): the arguments are too long.",
                hint="Let the function use a large table as a constant of the notebook.",
            )
        self.call()

    def call(self) -> tuple[list[Any], dict[str, Any]]:
        """The positional and the named arguments.

        Raises
        ------
        ParameterError
            If `arguments` is no canonical JSON of the two.
        """
        try:
            args, kwargs = json.loads(self.arguments)
            if not (isinstance(args, list) and isinstance(kwargs, dict)):
                raise ValueError
            if canonical([args, kwargs]).decode() != self.arguments:
                raise ValueError
        except (TypeError, ValueError, RecursionError):
            raise ParameterError(
                "execute(arguments=…) is not canonical JSON of a list and an object."
            ) from None
        return args, kwargs

    def margin(self, grid: Grid) -> int:
        """What the user says."""
        return self.around

    def effort(self, grid: Grid) -> float:
        """What a function does is not known; enough to keep its result."""
        return 50.0

    def profile(self, *inputs: Profile) -> Profile:
        """The bands and the dtype it was declared with."""
        return Profile(self.bands, self.dtype)

    def kernel(self, values: Any, grid: Grid) -> Any:
        """Never called: the evaluator hands the function to the sandbox."""
        raise EngineFault("A user's function was about to run outside the sandbox.", op=self.name)
