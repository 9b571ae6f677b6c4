"""The engine beside TiTiler: the same tiles, the same work, one interleaved run. See `bench.__main__`."""
