"""From a store to a trained network and its report."""

from fastck.training.run import Run, open_run

__all__ = ["Run", "open_run"]
