"""Local files held open, so that GDAL reads what was checked.

Between the check of a path and GDAL's opening it, a link that leads elsewhere can take the file's
place. So the files are opened here first, what was opened is checked, and GDAL opens it by the name
the system gives an open file. Where there are no such names (macOS), GDAL opens the path.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from geoloom.errors import SourceNotFound, SourceRefused
from geoloom_engine.readers.access import Access, Place
from geoloom_engine.readers.fingerprint import SIDECARS

_BY_NUMBER = Path("/proc/self/fd")
_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class HeldFiles:
    """A local source and the files beside it, open until nobody uses this any more.

    Parameters
    ----------
    place
        The source.
    access
        The allow-list.

    Raises
    ------
    SourceNotFound
        If it is gone.
    SourceRefused
        If it, or a file beside it, leads out of the allowed folders; or if that is not the TIFF it
        should be: GDAL would open it whatever it is.
    """

    def __init__(self, place: Place, access: Access) -> None:
        self._place = place
        self._files: dict[str, int] = {}
        # Not in `close` of the source: a read that has begun may open the file once more, and the
        # number of a closed file can be another's by then.
        weakref.finalize(self, _close, self._files)
        for ending in ("", *SIDECARS):
            self._hold(ending, access)

    @property
    def beside(self) -> bool:
        """Whether a file beside it holds overviews."""
        return ".ovr" in self._files

    def pread(self, length: int, offset: int) -> bytes:
        """Bytes from an offset on; fewer where the file ends."""
        return os.pread(self._files[""], length, offset)

    @contextlib.contextmanager
    def held(self, ranges: Iterable[tuple[int, int]]) -> Iterator[None]:
        """Nothing has to be fetched."""
        yield

    def failure(self) -> Exception | None:
        """What a read of GDAL's met beyond what it tells itself: nothing."""
        return None

    @contextlib.contextmanager
    def names(self) -> Iterator[tuple[str, list[str]]]:
        """What GDAL opens, and the names beside it that it may look at; good inside the block."""
        own = PurePath(self._place.path).name
        beside = [own + ending for ending in self._files if ending]
        if not _BY_NUMBER.is_dir():
            yield self._place.path, [own, *beside]
        elif not beside:
            number = self._files[""]
            yield str(_BY_NUMBER / str(number)), [str(number)]
        else:
            # GDAL finds the files beside a source by their names.
            with tempfile.TemporaryDirectory(prefix="geoloom-") as folder:
                for ending, number in self._files.items():
                    (Path(folder) / (own + ending)).symlink_to(_BY_NUMBER / str(number))
                yield str(Path(folder) / own), [own, *beside]

    def _hold(self, ending: str, access: Access) -> None:
        name = self._place.name + ending
        try:
            # A pipe put in a file's place must not hold up the thread.
            number = os.open(self._place.path + ending, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            if ending:
                return
            raise SourceNotFound(f"{name} is not there or cannot be read.", hint="Check the file.") from None
        self._files[ending] = number
        if not access.allows_open_file(self._place.path + ending, number):
            raise SourceRefused(
                f"{name} leads outside the folders this engine may read.",
                hint="Remove the file beside the image." if ending else "Put the file itself there.",
            )
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise SourceRefused(f"{name} is not a file.", hint="Remove it.")
        if ending not in ("", ".aux.xml") and os.pread(number, 4, 0) not in _TIFF_MAGICS:
            raise SourceRefused(f"{name} is not a TIFF file.", hint="Make it anew, or remove it.")


def _close(files: dict[str, int]) -> None:
    for number in files.values():
        os.close(number)
