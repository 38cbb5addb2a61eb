"""Folders of frames and videos -> a list of sequences: what is there, how it is labelled, and what is odd about it."""
