"""The ops: one file each; families of one-liners share one. Found by a folder scan."""
