"""The tile engine: plans and evaluates chains, serves tiles, points and statistics."""
