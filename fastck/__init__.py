"""Facial-expression sequences to memory-mapped motion features, fast, and a ConvLSTM2D trained on them."""

__version__ = "0.1.0"
