"""What paints ops that have no inputs, one file per noun."""
