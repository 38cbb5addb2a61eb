"""The files of sequences, looked at once: what each sequence is known by, and files that two people share."""

import os
from array import array
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastck.dataset.findings import Finding
from fastck.dataset.records import SequenceRecord
from fastck.messages import one_line

DIGITS = 16  # of a fingerprint


def fingerprint(record: SequenceRecord) -> str:
    """Return 16 hexadecimal digits that change with the name, size or modification time of one of the files."""
    return _look_at(record, array("q")).hex()


def _look_at(record: SequenceRecord, numbers: "array[int]") -> bytes:
    """Return a sequence's fingerprint, 8 bytes; a number for each file that is there is appended to `numbers`."""
    text = ""
    for name, path in zip(record.names(), record.files(), strict=True):
        try:
            status = os.stat(path)  # noqa: PTH116 - a third of a Path's cost
        except OSError as error:  # vanished or not readable: its decoding will say so, and it goes to the quarantine
            text += f"{name}|{error.errno}\n"
            continue
        text += f"{name}|{status.st_size}|{status.st_mtime_ns}\n"
        numbers.append(hash((status.st_dev, status.st_ino)))
    if record.onset is not None and record.video is not None:
        text += f"frames {record.onset} + {record.video_frames}\n"
    return sha256(text.encode("utf-8", "surrogateescape")).digest()[: DIGITS // 2]


def look_at_files(records: Sequence[SequenceRecord]) -> tuple[NDArray[np.bytes_], list[Finding]]:
    """Return the fingerprints of all sequences, (sequences,) bytes, and what is odd about their files.

    There is a finding for every sequence that has a file in common with another subject's, through links or by name.
    The walk meets no folder twice, but files of their own may be links to, or other names of, one and the same file.
    """
    digests = bytearray()
    # Millions of files fit into these arrays; only those whose number is met again are looked at once more.
    numbers, ends = array("q"), array("q")
    for record in records:
        digests += _look_at(record, numbers)
        ends.append(len(numbers))
    fingerprints = np.frombuffer(digests.hex().encode(), f"S{DIGITS}")
    files = np.frombuffer(numbers, np.int64)
    in_order = np.sort(files)
    repeated = np.unique(in_order[1:][in_order[1:] == in_order[:-1]])
    again: list[int] = []
    if len(repeated):
        owners = np.searchsorted(ends, np.flatnonzero(np.isin(files, repeated)), side="right")
        again = np.unique(owners).tolist()
    return fingerprints, _shared_files([records[index] for index in again])


def _shared_files(records: Sequence[SequenceRecord]) -> list[Finding]:
    findings = []
    owners: dict[tuple[int, int], SequenceRecord] = {}
    for record in records:
        others = {}
        for path in record.files():
            # A file that cannot be looked at is nobody else's; its decoding will say so.
            with suppress(OSError):
                status = os.stat(path)  # noqa: PTH116
                owner = owners.setdefault((status.st_dev, status.st_ino), record)
                if owner.subject != record.subject:
                    others[owner.sequence] = path
        for sequence, path in others.items():
            text = f"{one_line(path)} is also a file of {sequence}, another subject: kept, as two people"
            findings.append(Finding(kind="shared-file", sequence=record.sequence, path=Path(path), text=text))
    return findings
