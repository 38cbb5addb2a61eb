"""What a killed training needs to go on as if nothing had happened."""

import json
import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fastck.training.files import write_file, write_json

logger = logging.getLogger(__name__)

HISTORY = ("epoch", "accuracy", "loss", "val_accuracy", "val_loss")
STATE = "state.json"


class Checkpoint(keras.callbacks.Callback):
    """Keeps the weights, the history and what early stopping remembers.

    The weights file holds the network and Adam's state; the state file holds the history and what early stopping
    remembers. The state file is replaced atomically, last. Shuffling and dropout need no state: both are drawn from
    the epoch's number.
    """

    def __init__(self, folder: Path, *, every: int, stopper: keras.callbacks.EarlyStopping | None = None) -> None:
        super().__init__()
        self.folder = folder
        self.every = every
        self.stopper = stopper
        self.history: list[dict[str, float]] = []
        self.stopped = False
        self._memory: dict[str, Any] | None = None

    def restore(self, network: keras.Model, epochs: int) -> int:
        """Load the last checkpoint into `network`, and return the epoch to go on with (0 without a checkpoint)."""
        try:
            state = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return 0
        network.load_weights(self.folder / state["weights"])
        self.history = state["history"]
        self.stopped = state["stopped"]
        self._memory = state["early_stopping"]
        if self._memory and (self.stopped or len(self.history) >= epochs):
            network.set_weights(self._best_weights())
        logger.info("going on after epoch %d of %s", len(self.history), self.folder)
        return len(self.history)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Give early stopping its memory back (it has just cleared it: it comes first in the list of callbacks)."""
        if self.stopper is not None and self._memory:
            self.stopper.wait, self.stopper.best = self._memory["wait"], self._memory["best"]
            self.stopper.best_epoch = self._memory["best_epoch"]
            self.stopper.best_weights = self._best_weights()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add to the history; write a checkpoint where one is due."""
        values = {name: float(value) for name, value in (logs or {}).items() if name in HISTORY}
        self.history.append({"epoch": epoch + 1, **values})
        if self.every and ((epoch + 1) % self.every == 0 or self.model.stop_training):
            self._write(epoch + 1)

    def _write(self, epoch: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        weights = self.folder / f"epoch-{epoch:05d}.weights.h5"
        write_file(weights, self.model.save_weights)
        memory = self._early_stopping()
        write_json(
            self.folder / STATE,
            {
                "weights": weights.name,
                "history": self.history,
                "stopped": bool(self.model.stop_training),
                "early_stopping": memory,
            },
        )
        kept = {STATE, weights.name, (memory or {}).get("file")}
        for path in self.folder.iterdir():
            if path.name not in kept:
                path.unlink()

    def _early_stopping(self) -> dict[str, Any] | None:
        """Return what early stopping remembers, its best weights in a file of their own."""
        if self.stopper is None or self.stopper.best_weights is None:
            return None
        best = self.stopper.best_weights
        file = self.folder / f"best-{self.stopper.best_epoch + 1:05d}.npz"
        if not file.exists():
            write_file(file, lambda temporary: np.savez(temporary, *best))
        return {
            "wait": int(self.stopper.wait),
            "best": float(self.stopper.best),
            "best_epoch": int(self.stopper.best_epoch),
            "file": file.name,
        }

    def _best_weights(self) -> list[np.ndarray]:
        if self._memory is None:
            raise RuntimeError("there are no best weights before a checkpoint was restored")
        with np.load(self.folder / self._memory["file"], allow_pickle=False) as file:
            return [file[f"arr_{position}"] for position in range(len(file.files))]
