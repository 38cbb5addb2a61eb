"""Walking folders that people filled by hand: junk, links that lead in circles, folders that cannot be read.

Nothing here opens a file. What is left out, and what is odd, becomes a `Finding`; nothing vanishes silently.
"""

import os
import re
import unicodedata
from collections.abc import Iterator
from hashlib import sha256
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from fastck.dataset.findings import Finding
from fastck.images.image import IMAGE_SUFFIXES
from fastck.images.video import VIDEO_SUFFIXES
from fastck.messages import one_line, reason

_JUNK_FILES = {
    "thumbs.db",
    "desktop.ini",
    "icon\r",
    "ehthumbs.db",
}  # in lower case; names with a leading dot are junk too
_JUNK_FOLDERS = {"__macosx", "$recycle.bin", "system volume information"}
_name_of = attrgetter("name")
LONGEST_NAME = 120  # bytes of an id; file systems allow 255 bytes, and the store appends suffixes
_HARMLESS = re.compile(rf"[A-Za-z0-9_]{{1,{LONGEST_NAME}}}")  # stays as it is


class Listing(NamedTuple):
    """The entries of one folder by sort, as plain names in sorted order.

    Attributes
    ----------
    folder : str
        The folder's path.
    parts : tuple of str
        The same below the walk's root.
    folders, images, videos, others : list of str
    linked : set of str
        Those of the folders that are links.
    """

    folder: str
    parts: tuple[str, ...]
    folders: list[str]
    images: list[str]
    videos: list[str]
    others: list[str]
    linked: set[str]

    @property
    def path(self) -> Path:
        """The folder's path; a hundred times the cost of `folder`."""
        return Path(self.folder)


# A folder to look at: its path, the same below the root, the folders that hold it, and whether it is a link.
_Step = tuple[str, tuple[str, ...], frozenset[tuple[int, int]], bool]


def safe_name(parts: tuple[str, ...]) -> str:
    """Join path parts to an id that is a harmless file name.

    Letters and digits of any script, "_", "-" and inner dots stay, everything else (path separators, spaces, line
    breaks) becomes "_". The result is never empty, never starts with a dot or a dash, and is at most 120 bytes long.
    """
    text = "_".join(parts)
    if _HARMLESS.fullmatch(text):
        return text
    text = unicodedata.normalize("NFC", text)
    name = re.sub(r"[^\w.-]", "_", text)
    name = re.sub(r"^[.-]+", "_", name).rstrip(".") or "_"
    if len(name.encode()) > LONGEST_NAME:
        name = name.encode()[: LONGEST_NAME - 9].decode(errors="ignore") + "-" + short_hash(parts)
    return name


def short_hash(parts: tuple[str, ...]) -> str:
    """Return 8 hexadecimal digits that depend on the path below the root only."""
    return sha256("/".join(parts).encode(errors="surrogateescape")).hexdigest()[:8]


def walk(root: Path, findings: list[Finding]) -> Iterator[Listing]:
    """Yield the root and all folders below it, parents first, in sorted order; append what is odd to `findings`.

    A folder is met once, whichever links lead to it: by its own name where it lies below the root, else by the first
    link. Links are never followed into a folder that contains them. Folders that cannot be read or vanish while they
    are read are reported and left out.
    """
    real_root = root.resolve()
    # By device and inode: millions of folders take a number and a reference each.
    met: dict[int, dict[int, str]] = {}
    first_step: _Step = (os.fspath(root), (), frozenset(), False)
    stack = [iter([first_step])]
    while stack:
        step = next(stack[-1], None)
        if step is None:
            stack.pop()
            continue
        folder, parts, ancestors, is_link = step
        try:
            status = os.stat(folder)  # noqa: PTH116 - a third of a Path's cost
            with os.scandir(folder) as entries:
                found = sorted(entries, key=_name_of)
        except OSError as error:
            findings.append(_unreadable_folder(Path(folder), error))
            continue
        identity = (status.st_dev, status.st_ino)
        if identity in ancestors:
            text = f"{one_line(folder)} leads back to a folder that contains it: not followed"
            findings.append(Finding(kind="symlink-loop", sequence="", path=Path(folder), text=text))
            continue
        real = Path(folder).resolve() if is_link else None
        known = met.setdefault(status.st_dev, {})
        first = real if real is not None and _is_met_by_name(real, real_root) else known.get(status.st_ino)
        if first is not None:
            text = f"{one_line(folder)} is the folder {one_line(first)} again: left out"
            findings.append(Finding(kind="repeated-folder", sequence="", path=Path(folder), text=text))
            continue
        known[status.st_ino] = folder
        listing = _sort_entries(folder, parts, found, findings)
        yield listing
        if listing.folders:
            stack.append(_below(listing, ancestors | {identity}))


def _below(listing: Listing, ancestors: frozenset[tuple[int, int]]) -> Iterator[_Step]:
    """Yield the steps to a listing's folders, one after the other: there may be a million of them."""
    start = _start_of(listing.folder)
    for name in listing.folders:
        yield start + name, (*listing.parts, name), ancestors, name in listing.linked


def _start_of(folder: str) -> str:
    """Return what stands before the names in a folder, as pathlib joins them."""
    return {".": "", "/": "/"}.get(folder, f"{folder}/")


def _is_met_by_name(real: Path, root: Path) -> bool:
    """Return whether a walk comes to a folder, free of links, by its own name."""
    return real.is_relative_to(root) and not any(map(_is_junk_folder, real.relative_to(root).parts))


def _is_junk_folder(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK_FOLDERS


def _sort_entries(
    folder: str, parts: tuple[str, ...], entries: list[os.DirEntry[str]], findings: list[Finding]
) -> Listing:
    listing = Listing(folder, parts, [], [], [], [], set())
    images = listing.images
    for entry in entries:
        name = entry.name
        try:
            is_file = entry.is_file()
            is_folder = not is_file and entry.is_dir()
        except OSError:  # a link that leads to itself
            is_folder = is_file = False
        # Nearly all there is; no system's junk is an image.
        if is_file and name[0] != "." and name[name.rfind(".") :].lower() in IMAGE_SUFFIXES:
            images.append(name)
        elif _is_junk_folder(name) if is_folder else name[0] == "." or name.lower() in _JUNK_FILES:
            kind = "junk-folder" if is_folder else "junk-file"
            findings.append(_left_out(kind, Path(folder, name), "is junk"))
        elif is_folder:
            listing.folders.append(name)
            if entry.is_symlink():
                listing.linked.add(name)
        elif not is_file:
            kind, what = ("broken-link", "leads nowhere") if entry.is_symlink() else ("not-a-file", "is no plain file")
            findings.append(_left_out(kind, Path(folder, name), what))
        elif name[name.rfind(".") :].lower() in VIDEO_SUFFIXES:
            listing.videos.append(name)
        else:
            listing.others.append(name)
    return listing


def _left_out(kind: str, path: Path, what: str) -> Finding:
    return Finding(kind=kind, sequence="", path=path, text=f"{one_line(path)} {what}: left out")


def _unreadable_folder(path: Path, error: OSError) -> Finding:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        kind, what = "vanished-folder", "vanished while it was read"
    else:
        kind, what = "unreadable-folder", f"cannot be read ({reason(error)})"
    return _left_out(kind, path, what)
