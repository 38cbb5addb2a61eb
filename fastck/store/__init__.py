"""Motion features on disk: plain NumPy files, how they come about, and how they are read."""

from fastck.store.reader import Store, open_store

__all__ = ["Store", "open_store"]
