"""What users are told: how far long work is, and names and reasons of files that fit on one line."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(kw_only=True)
class Progress:
    """How far long work is; every `on_progress` is called with one, in the caller's thread where the
    function does not say otherwise.

    Attributes
    ----------
    done, total : int
        In the unit that the function names; what is done may count in shares of it.
    step : str
        Which part of the work this is, where there are several.
    """

    done: float = 0
    total: int = 0
    step: str = ""


def one_line(text: object) -> str:
    """Return the text with line breaks, control and undecodable characters escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in str(text)
    )


def some_names(names: Sequence[object], most: int = 5) -> str:
    """Return the first names on one line, and ", ..." where there are more than `most`."""
    return ", ".join(map(one_line, names[:most])) + (", ..." if len(names) > most else "")


def several_people(number: int) -> str:
    """Return what it means that so many sequences show several people, "" where none does."""
    if not number:
        return ""
    clips = "1 clip shows" if number == 1 else f"{number} clips show"
    return f"{clips} more than one person: the largest face was taken; n_people in sequences.csv says in which"


def error_text(error: Exception) -> str:
    """Return an error's text; an operating system's error as "path: what is wrong"."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def reason(error: OSError) -> str:
    """Return what the system says about an error in lower case: "permission denied"."""
    return one_line(error.strerror or error).lower()
