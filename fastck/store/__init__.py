"""Motion features on disk: plain NumPy files, how they come about, and how they are read."""
