"""Image files to pixels: a PNG reader of its own, and the headers of all formats."""
