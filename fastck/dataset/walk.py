"""Walking folders that people filled by hand: junk, links that lead in circles, folders that cannot be read.

Nothing here opens a file. What is left out, and what is odd, becomes a `Finding`; nothing vanishes silently.
"""

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from fastck.dataset.findings import Finding
from fastck.images.image import is_image
from fastck.images.video import is_video
from fastck.messages import one_line, reason

_JUNK_FILES = {
    "thumbs.db",
    "desktop.ini",
    "icon\r",
    "ehthumbs.db",
}  # in lower case; names with a leading dot are junk too
_JUNK_FOLDERS = {"__macosx", "$recycle.bin", "system volume information"}
_LONGEST_NAME = 120  # bytes of an id; file systems allow 255 bytes, and the store appends suffixes
_HARMLESS = re.compile(rf"[A-Za-z0-9_]{{1,{_LONGEST_NAME}}}")  # stays as it is


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The entries of one folder by sort, as plain names in sorted order; `parts` is its path below the walk's root."""

    path: Path
    parts: tuple[str, ...]
    folders: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


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
    if len(name.encode()) > _LONGEST_NAME:
        name = name.encode()[: _LONGEST_NAME - 9].decode(errors="ignore") + "-" + short_hash(parts)
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
    met: dict[tuple[int, int], Path] = {}
    stack: list[tuple[Path, tuple[str, ...], frozenset[tuple[int, int]]]] = [(root, (), frozenset())]
    while stack:
        path, parts, ancestors = stack.pop()
        try:
            status = path.stat()
            entries = _entries(path)
        except OSError as error:
            findings.append(_unreadable_folder(path, error))
            continue
        identity = (status.st_dev, status.st_ino)
        if identity in ancestors:
            text = f"{one_line(path)} leads back to a folder that contains it: not followed"
            findings.append(Finding(kind="symlink-loop", sequence="", path=path, text=text))
            continue
        real = path.resolve() if parts and path.is_symlink() else None
        first = real if real is not None and _is_met_by_name(real, real_root) else met.get(identity)
        if first is not None:
            text = f"{one_line(path)} is the folder {one_line(first)} again: left out"
            findings.append(Finding(kind="repeated-folder", sequence="", path=path, text=text))
            continue
        met[identity] = path
        listing = _sort_entries(path, parts, entries, findings)
        yield listing
        for name in reversed(listing.folders):
            stack.append((path / name, (*parts, name), ancestors | {identity}))


def _is_met_by_name(real: Path, root: Path) -> bool:
    """Return whether a walk comes to a folder, free of links, by its own name."""
    return real.is_relative_to(root) and not any(map(_is_junk_folder, real.relative_to(root).parts))


def _is_junk_folder(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK_FOLDERS


def _entries(path: Path) -> list[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _sort_entries(
    path: Path, parts: tuple[str, ...], entries: list[os.DirEntry[str]], findings: list[Finding]
) -> Listing:
    listing = Listing(path=path, parts=parts)
    for entry in entries:
        name = entry.name
        try:
            is_folder = entry.is_dir()
            is_file = not is_folder and entry.is_file()
        except OSError:  # a link that leads to itself
            is_folder = is_file = False
        is_junk_file = name.startswith(".") or name.lower() in _JUNK_FILES
        if _is_junk_folder(name) if is_folder else is_junk_file:
            kind = "junk-folder" if is_folder else "junk-file"
            findings.append(_left_out(kind, path / name, "is junk"))
        elif is_folder:
            listing.folders.append(name)
        elif not is_file:
            kind, what = ("broken-link", "leads nowhere") if entry.is_symlink() else ("not-a-file", "is no plain file")
            findings.append(_left_out(kind, path / name, what))
        elif is_image(name):
            listing.images.append(name)
        elif is_video(name):
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
