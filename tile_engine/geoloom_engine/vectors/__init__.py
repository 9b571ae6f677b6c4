"""Features in memory: geometry as packed arrays, and the compiled loops that turn it into pixels."""
