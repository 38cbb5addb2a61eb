"""Files that are written whole or not at all, under names that nobody else has, and never over what is read."""

import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fastck.messages import one_line

_TEMPORARY = ".fastck-"
_IS_TEMPORARY = re.compile(r"\.fastck-[0-9a-f]{32}(\.|$)")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a name beside a file, which nobody else has; what is written there takes the file's place, or vanishes.

    A link in the file's place is replaced too: nothing is ever written through it.
    """
    # Some writers know the format by the last suffixes.
    temporary = path.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}{''.join(path.suffixes[-2:])[-20:]}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a folder under a name that nobody else has; it gets the name `path` when it is complete, or vanishes.

    Raises
    ------
    ValueError
        If something is there already.
    """
    if os.path.lexists(path):
        raise ValueError(f"{one_line(path)} exists already: name a new folder")
    temporary = path.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def is_temporary(name: str) -> bool:
    """Return whether a file has a name that `replacing` gave it: a run was killed before it had its own."""
    return _IS_TEMPORARY.match(name) is not None


def write_atomically(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a whole file, given at once or in parts, or nothing, and have it on disk when this returns."""
    with replacing(path) as temporary, temporary.open("xb") as file:
        file.writelines((data,) if isinstance(data, bytes) else data)
        file.flush()
        os.fsync(file.fileno())


class GrowingFile:
    """A file that has its own name from the first addition on, and each addition at once: a kill loses none of them.

    Parameters
    ----------
    path : Path
        What is there already is replaced with the first addition.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def add(self, data: bytes, end: bytes = b"") -> None:
        """Write what comes next, and `end`, which the next addition takes the place of."""
        if self._file is None:
            with replacing(self.path) as temporary:
                # It stays open when it gets its own name.
                self._file = temporary.open("xb")
                self._write(self._file, data, end)
        else:
            self._write(self._file, data, end)

    @staticmethod
    def _write(file: BinaryIO, data: bytes, end: bytes) -> None:
        file.write(data + end)
        file.flush()
        file.seek(-len(end), os.SEEK_END)

    def close(self) -> None:
        """Have all of it on disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()


def check_output(out: Path, inputs: Iterable[str | os.PathLike[str]], *, overwrite: bool = True) -> None:
    """Raise where a file is to be written in the place of something that must not be lost.

    Parameters
    ----------
    out : Path
    inputs : iterable of path-like
        What is read; a folder stands for every file below it. None of them is ever written over, by whatever name.
    overwrite : bool
        Whether a file that is there already may be replaced.

    Raises
    ------
    ValueError
        If `out` is an input, a folder, or there already without `overwrite`.
    """
    if not os.path.lexists(out):
        return
    real = out.resolve()
    for path in inputs:
        read = Path(os.path.realpath(path))
        if read == real or read in real.parents or (read.exists() and out.exists() and out.samefile(read)):
            raise ValueError(f"{one_line(out)} is among the files that are read, and would be lost: name another file")
    if out.is_dir():
        raise ValueError(f"{one_line(out)} is a folder: name a file")
    if not overwrite:
        raise ValueError(f"{one_line(out)} is there already: name another file, or give --overwrite to replace it")


def cache_folder() -> Path | None:
    """Return the folder of fastck's caches: FASTCK_CACHE_DIR, or fastck in the user's cache folder; None for none."""
    named = os.environ.get("FASTCK_CACHE_DIR")
    if named:
        return Path(named).absolute()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).absolute() / "fastck"
    try:
        return Path.home() / ".cache" / "fastck"
    except RuntimeError:
        return None
