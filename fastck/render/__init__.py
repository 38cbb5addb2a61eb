"""Rendered faces: a CK+-shaped data set that anyone may use, made from a CC0 head model."""

from fastck.render.dataset import RenderSummary, render_dataset
from fastck.render.quirks import Quirk
from fastck.render.sheet import contact_sheet
from fastck.render.variation import ASPECTS, EASY, HARD, Variation, with_aspect

__all__ = [
    "ASPECTS",
    "EASY",
    "HARD",
    "Quirk",
    "RenderSummary",
    "Variation",
    "contact_sheet",
    "render_dataset",
    "with_aspect",
]
