"""``make soak``: many people pan over maps while process after process is killed."""
