"""Loads all of the modules that functions may use, and calls each family of functions once.

After the lock nothing can be opened, so what is loaded late fails there: submodules that are imported
when they are first named, tables read from files, threads and plans made at the first call.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import logging
import pkgutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

log = logging.getLogger("geoloom_engine")

SKIPPED = frozenset(
    {
        "__main__",
        "_build_utils",
        "_plugins",
        "_precompute",
        "_pyinstaller",
        "conftest",
        "cversions",
        "distutils",
        "f2py",
        "mypy_plugin",
        "setup",
        "testing",
        "tests",
    }
)
"""Parts of names of modules that no function uses: tests, and what builds or packs; they load much else."""

STANDARD = """
__future__ abc array base64 binascii bisect calendar cmath collections collections.abc colorsys contextlib
copy copyreg dataclasses datetime decimal encodings.ascii encodings.cp1252 encodings.idna encodings.latin_1
encodings.raw_unicode_escape encodings.unicode_escape encodings.utf_16 encodings.utf_32 encodings.utf_8
encodings.utf_8_sig enum fractions functools hashlib heapq inspect io itertools json keyword linecache locale
math numbers operator pprint random re reprlib statistics string struct textwrap time tokenize traceback
types typing unicodedata warnings weakref zlib _strptime
"""
"""Of the standard library: what modules and messages of errors may load late."""

FIRST = frozenset({"numpy", *(name.partition(".")[0] for name in STANDARD.split())})
"""Modules that are loaded first, in a seventh of the time that all take."""

CALLS = {
    "": """
datetime.datetime.strptime("2024-06-01 12:00", "%Y-%m-%d %H:%M").strftime("%d %B %Y")
time.strptime("2024", "%Y")
decimal.Decimal(2).sqrt()
json.loads(json.dumps({"a": [1.5, None, "é"]}))
random.Random(1).gauss(0, 1)
re.sub(r"(?i)\\bé(\\d+)", "x", "É12")
statistics.quantiles([1, 2, 3, 4])
"é".encode("latin-1").decode("cp1252")
"é".encode("idna")
traceback.format_exc()
""",
    "numpy": """
[getattr(numpy.fft, name)(image) for name in ("fft2", "rfft2", "hfft", "ifftn")]
numpy.linalg.svd(image)
numpy.linalg.solve(image, image)
numpy.linalg.eig(image)
numpy.linalg.lstsq(image, image[:, 0])
numpy.einsum("ij,kj->ik", image, image, optimize=True)
numpy.polyfit(image[0], image[1], 2)
numpy.random.default_rng().normal(size=3)
numpy.datetime64("2024-06-01") + numpy.timedelta64(1, "D")
numpy.array2string(image, precision=3)
numpy.ma.median(numpy.ma.masked_less(image, 0.5))
""",
    "scipy": """
[getattr(scipy.fft, name)(image) for name in ("fft2", "rfft2", "dctn", "dstn", "hfft2", "ifftn")]
scipy.fft.next_fast_len(1000)
scipy.fftpack.fft(image)
scipy.signal.fftconvolve(image, image[:3, :3])
scipy.signal.filtfilt(*scipy.signal.butter(3, 0.2), image)
scipy.signal.savgol_filter(image, 5, 2)
scipy.signal.stft(image[0], nperseg=8)
scipy.signal.resample(image, 10)
scipy.ndimage.gaussian_filter(image, 1)
scipy.ndimage.median_filter(image, 3)
scipy.ndimage.generic_filter(image, numpy.mean, 3)
scipy.ndimage.label(image > 0.5)
scipy.ndimage.zoom(image, 2)
scipy.ndimage.distance_transform_edt(image > 0.5)
scipy.linalg.lu(image)
scipy.linalg.expm(image)
scipy.interpolate.griddata(points, points[:, 0], points[:3] + 0.01)
scipy.interpolate.RegularGridInterpolator((numpy.arange(16), numpy.arange(16)), image)(points)
scipy.interpolate.make_interp_spline(numpy.arange(16), image[0])(0.5)
scipy.interpolate.RBFInterpolator(points, points[:, 0])(points)
scipy.spatial.cKDTree(points).query(points[:2])
scipy.stats.norm.cdf(image)
scipy.stats.linregress(image[0], image[1])
scipy.stats.gaussian_kde(image[0])(image[1])
scipy.stats.rankdata(image)
scipy.special.gamma(image)
scipy.optimize.minimize(lambda x: float((x**2).sum()), [1.0, 1.0])
scipy.optimize.curve_fit(lambda x, a: a * x, image[0], image[1])
scipy.integrate.quad(lambda x: x, 0, 1)
scipy.cluster.vq.kmeans2(points, 2, seed=1)
scipy.sparse.linalg.spsolve(scipy.sparse.eye(4, format="csc"), numpy.ones(4))
""",
    "skimage": """
skimage.measure.regionprops_table(labels, image)
skimage.measure.find_contours(image, 0.5)
skimage.filters.gaussian(image, 1)
skimage.filters.sobel(image)
skimage.filters.threshold_otsu(image)
skimage.filters.rank.median(bytes_, skimage.morphology.disk(1))
skimage.morphology.remove_small_objects(labels)
skimage.morphology.skeletonize(image > 0.5)
skimage.morphology.opening(image, skimage.morphology.disk(1))
skimage.segmentation.watershed(image, labels)
skimage.segmentation.slic(image, 4, channel_axis=None)
skimage.feature.canny(image)
skimage.feature.graycomatrix(bytes_, [1], [0], 256)
skimage.transform.resize(image, (8, 8))
skimage.exposure.equalize_adapthist(image)
skimage.restoration.denoise_tv_chambolle(image)
skimage.color.rgb2lab(skimage.color.gray2rgb(image))
skimage.util.img_as_ubyte(image)
""",
}
"""One call of each family, by module: one a line, as other versions of a module may not have all of them."""

PREPARED = """
import datetime, decimal, json, random, re, statistics, time, traceback
import numpy
image = numpy.random.default_rng(0).random((16, 16))
points = image.reshape(-1)[:40].reshape(20, 2)
bytes_ = (image * 255).astype(numpy.uint8)
labels = (image * 4).astype(int)
"""
"""What they work on: an image without any pattern."""


def needs_all(modules: Iterable[str]) -> bool:
    """Whether a function that imports these needs more than what is loaded first."""
    return not FIRST.issuperset(modules)


class InOrder(concurrent.futures.Executor):
    """A pool of threads without threads, which there are none of after the lock: does things at once.

    Takes, and passes over, the arguments of ``ThreadPoolExecutor``.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()

    def submit[**P, T](
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> concurrent.futures.Future[T]:
        """Call the function."""
        found: concurrent.futures.Future[T] = concurrent.futures.Future()
        try:
            found.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - told when the result is asked for
            found.set_exception(error)
        return found


def warm_up(modules: Sequence[str]) -> None:
    """Do all that `steps` has to do."""
    for _ in steps(modules):
        pass


def steps(modules: Sequence[str]) -> Iterator[None]:
    """Load the modules with all their submodules, and call what has to be called once before the lock.

    Parameters
    ----------
    modules
        First parts of names; those that are not installed are passed over.

    Yields
    ------
    None
        After each piece, of some hundredths of a second as a rule.
    """
    # Before modules take it from there.
    concurrent.futures.ThreadPoolExecutor = InOrder  # type: ignore[assignment, misc]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in STANDARD.split():
            importlib.import_module(name)
        for name in modules:
            for found in names_below(name):
                _loaded(found)
                yield
        namespace: dict[str, object] = {}
        exec(PREPARED, namespace)  # noqa: S102 - these are our own lines
        for name in ("", *modules):
            if name in sys.modules:
                namespace[name] = sys.modules[name]
            for line in CALLS.get(name, "").strip().splitlines():
                try:
                    exec(line, namespace)  # noqa: S102
                except Exception as error:  # noqa: BLE001 - of a version that has it not, or otherwise
                    log.warning("%s fails before the lock: %s", line, error)
                yield


def names_below(top: str) -> Iterator[str]:
    """Names of a module and all its submodules that a function could use."""
    yield top
    if not _loaded(top):
        return
    folders = list(getattr(sys.modules[top], "__path__", ()))
    for module in pkgutil.iter_modules(folders, f"{top}."):
        if module.name.rpartition(".")[2] not in SKIPPED:
            yield from names_below(module.name)


def _loaded(name: str) -> bool:
    try:
        importlib.import_module(name)
    except Exception:  # noqa: BLE001 - modules for what is not installed raise all kinds
        return False
    return True
