"""GDAL's door to remote files: what it opens below ``/vsigeoloom/`` is read by this process's own code.

GDAL's own network code follows redirects wherever they lead, and tells of a refused or stalled read no
more than that it failed. So GDAL is given files of a virtual file system whose reads come here, by the
plugin interface that its library has for that (``VSIInstallPluginHandler``), which its Python bindings
do not wrap: https://gdal.org/en/stable/api/cpl.html#cpl-vsi-h. There is no other name below the prefix
than those that are registered, nothing can be listed, and nothing written.
"""

from __future__ import annotations

import ctypes
import errno
import io
import itertools
import threading
from collections.abc import Callable
from typing import Any, Protocol

from osgeo import _gdal

_PREFIX = "/vsigeoloom/"
_PREFIX_FOR_GDAL = _PREFIX.encode()
"""GDAL keeps the address of these bytes."""

_Place = ctypes.c_void_p
_Open = ctypes.CFUNCTYPE(_Place, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p)
_Tell = ctypes.CFUNCTYPE(ctypes.c_uint64, _Place)
_Seek = ctypes.CFUNCTYPE(ctypes.c_int, _Place, ctypes.c_uint64, ctypes.c_int)
_Read = ctypes.CFUNCTYPE(ctypes.c_size_t, _Place, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)
_Ask = ctypes.CFUNCTYPE(ctypes.c_int, _Place)
_Clear = ctypes.CFUNCTYPE(None, _Place)


class _Callbacks(ctypes.Structure):
    """``VSIFilesystemPluginCallbacksStruct`` of GDAL 3.10; later versions add fields behind these."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("user_data", "stat", "unlink", "rename", "mkdir", "rmdir")),
        ("read_dir", ctypes.c_void_p),
        ("open", _Open),
        ("tell", _Tell),
        ("seek", _Seek),
        ("read", _Read),
        *((name, ctypes.c_void_p) for name in ("read_multi_range", "get_range_status")),
        ("eof", _Ask),
        *((name, ctypes.c_void_p) for name in ("write", "flush", "truncate")),
        ("close", _Ask),
        *((name, ctypes.c_size_t) for name in ("buffer_size", "cache_size")),
        *((name, ctypes.c_void_p) for name in ("sibling_files", "advise_read")),
        ("error", _Ask),
        ("clear_error", _Clear),
    )


class Readable(Protocol):
    """What GDAL can be given to read."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    def pread(self, length: int, offset: int) -> bytes:
        """Bytes from an offset on; fewer where the file ends."""

    def failed(self, error: Exception) -> None:
        """A `pread` for GDAL raised this: GDAL, which cannot carry it, is told no more than that."""


class _Opened:
    """A file as GDAL has it open: never in two threads at once."""

    __slots__ = ("at", "broken", "ended", "file")

    def __init__(self, file: Readable) -> None:
        self.file = file
        self.at = 0
        self.ended = self.broken = False

    def read(self, buffer: int, length: int) -> int:
        wanted = min(length, max(self.file.size - self.at, 0))
        try:
            content = self.file.pread(wanted, self.at) if wanted else b""
        except Exception as error:  # noqa: BLE001 - nothing can be raised through GDAL
            self.broken = True
            self.file.failed(error)
            return 0
        ctypes.memmove(buffer, content, len(content))
        self.at += len(content)
        self.ended = len(content) < length
        return len(content)

    def seek(self, offset: int, whence: int) -> None:
        self.at = (
            offset
            if whence == io.SEEK_SET
            else offset + (self.at if whence == io.SEEK_CUR else self.file.size)
        )
        self.ended = False


class _FileSystem:
    """The registered files, and those that GDAL has open; one for the process, as GDAL has one."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._files: dict[str, Readable] = {}
        self._opened: dict[int, _Opened] = {}
        self._lock = threading.Lock()
        self._installed: Any = None

    def add(self, name: str, file: Readable) -> str:
        with self._lock:
            if self._installed is None:
                self._installed = self._install()
            path = f"{next(self._numbers)}/{name}"
            self._files[path] = file
        return _PREFIX + path

    def remove(self, name: str) -> None:
        with self._lock:
            self._files.pop(name.removeprefix(_PREFIX), None)

    def _install(self) -> Any:
        # The bindings' module is linked to the library that they use; whatever else is loaded is another.
        library = ctypes.CDLL(_gdal.__file__)
        library.VSIAllocFilesystemPluginCallbacksStruct.restype = ctypes.c_void_p
        library.VSIInstallPluginHandler.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
        # GDAL allocates it in the size that its version has, all zero, and keeps a copy of its own.
        place = library.VSIAllocFilesystemPluginCallbacksStruct()
        callbacks = _Callbacks.from_address(place)
        kept: dict[str, Callable[..., Any]] = {
            "open": _Open(self._open),
            "tell": _Tell(lambda number: self._opened[number].at),
            "seek": _Seek(self._seek),
            "read": _Read(self._read),
            "eof": _Ask(lambda number: int(self._opened[number].ended)),
            "close": _Ask(self._close),
            "error": _Ask(lambda number: int(self._opened[number].broken)),
            "clear_error": _Clear(self._clear),
        }
        for name, callback in kept.items():
            setattr(callbacks, name, callback)
        library.VSIInstallPluginHandler(_PREFIX_FOR_GDAL, place)
        library.VSIFreeFilesystemPluginCallbacksStruct.argtypes = (ctypes.c_void_p,)
        library.VSIFreeFilesystemPluginCallbacksStruct(place)
        return kept

    def _open(self, _user_data: int | None, name: bytes, access: bytes) -> int | None:
        file = self._files.get(name.decode("utf-8", "surrogateescape"))
        if file is None or access not in (b"r", b"rb"):
            ctypes.set_errno(errno.ENOENT)
            return None
        number = next(self._numbers)
        self._opened[number] = _Opened(file)
        return number

    def _seek(self, number: int, offset: int, whence: int) -> int:
        self._opened[number].seek(offset, whence)
        return 0

    def _read(self, number: int, buffer: int, size: int, count: int) -> int:
        return self._opened[number].read(buffer, size * count) // size if size * count else 0

    def _close(self, number: int) -> int:
        self._opened.pop(number, None)
        return 0

    def _clear(self, number: int) -> None:
        opened = self._opened[number]
        opened.ended = opened.broken = False


_FILES = _FileSystem()


def register(name: str, file: Readable) -> str:
    """The name by which GDAL opens a file from now on, until `unregister`; it ends with `name`."""
    return _FILES.add(name, file)


def unregister(gdal_name: str) -> None:
    """GDAL opens a file no more; what it has open stays."""
    _FILES.remove(gdal_name)
