"""The version, below all that writes it down; the package's own `__version__` is this one."""

__version__ = "0.1.0"
