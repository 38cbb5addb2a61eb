"""Makers of what is shipped: the bundled recogniser, the pictures of the documentation."""
