"""One palette for pages, plots and videos, light and dark, that people of all colour visions tell apart.

The hues of the classes are those of Okabe and Ito (2008, "Color Universal Design"), made lighter or darker until any
two differ by at least 14 units of CIEDE2000, for the three kinds of colour blindness too, and every one stands out from
the page by 3 to 1, as WCAG 2.2 asks.
"""

LIGHT = {
    "ink": "#1f2328",
    "faint": "#59636e",
    "line": "#d8dee4",
    "paper": "#ffffff",
    "soft": "#f6f8fa",
    "warn": "#fff3cd",
    "bar": "#0072b2",
    "mark": "#b54a00",
}
DARK = {
    "ink": "#e6edf3",
    "faint": "#9aa4af",
    "line": "#30363d",
    "paper": "#0d1117",
    "soft": "#161b22",
    "warn": "#2f2610",
    "bar": "#5aaeeb",
    "mark": "#f2884b",
}
# Of emotions in the order of their codes, and of whatever else has several curves.
CLASSES = ("#434343", "#e56b15", "#4d2908", "#08815e", "#a37b90", "#7c5920", "#134c76", "#3299cd")
DARK_CLASSES = ("#676767", "#d55e00", "#7d593d", "#009e73", "#c47ea4", "#ffbc4d", "#1c659a", "#66c2f7")
PEOPLE = tuple(CLASSES[code] for code in (7, 1, 3, 4, 2, 6, 5, 0))  # those that differ most come first
# Of two ways to crop, a box that moved, and a face that was not found.
FIRST, SECOND, MOVED, MISSED = "#134c76", "#3299cd", "#e56b15", "#a0002a"


def person_colour(number: int) -> str:
    """Return the colour of the person with that number, counted from 1."""
    return PEOPLE[(number - 1) % len(PEOPLE)]


def bgr(colour: str) -> tuple[int, int, int]:
    """Return a colour such as "#0072b2" in OpenCV's order, blue first."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return blue, green, red
