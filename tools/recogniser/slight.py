"""How people act whom no rendered set holds: by loose recipes, slightly, and with beards, stubble and grainy skin."""

from dataclasses import replace

import numpy as np

from fastck.render.dataset import Person, Take, act, draw_person, subject_rng
from fastck.render.expression import Manner, perform
from fastck.render.model import load_model
from fastck.render.motion import Pose
from fastck.render.recipes import Recipe
from fastck.render.scene import Scene
from fastck.render.subject import Subject
from fastck.render.variation import Variation
from tools.recogniser.recipes import loose_recipe

STRENGTH = (0.3, 0.8)  # of a slight expression's recipe, on top of the person's and the variation's own
OTHER_SKIN = 2  # one in so many people who show slight expressions
BEARDED = 0.6  # share of these
BEARD = (0.4, 1.0)  # opacity
GRAIN = (0.015, 0.12)  # contrast
LIPS = (0.2, 1.0)  # factor on the lips' contrast


def loose_act(take: Take, manner: Manner, rng: np.random.Generator, variation: Variation) -> list[Pose]:
    """Return the poses of a sequence as `fastck.render.dataset.act`, an emotion by a loose recipe."""
    if not take.code:
        return act(take, manner, rng, variation)
    return by_units(take, manner, rng, variation, loose_recipe(take.shows, rng.spawn(1)[0]))


def slight_act(take: Take, manner: Manner, rng: np.random.Generator, variation: Variation) -> list[Pose]:
    """Return the poses of a sequence as `loose_act`, an emotion weakly."""
    if not take.code:
        return act(take, manner, rng, variation)
    drawn = rng.spawn(1)[0]
    units = loose_recipe(take.shows, drawn)
    strength = float(drawn.uniform(*STRENGTH))
    return by_units(take, manner, rng, variation, {unit: strength * weight for unit, weight in units.items()})


def by_units(take: Take, manner: Manner, rng: np.random.Generator, variation: Variation, units: Recipe) -> list[Pose]:
    """Return the poses of an emotion that is shown by the units."""
    return perform(load_model(), manner, take.shows, rng, n_frames=take.n_frames, variation=variation, units=units)


def slight_person(seed: int, number: int, variation: Variation) -> tuple[Scene, Manner]:
    """Return a person's scene and manner; every second one has another skin."""
    if number % OTHER_SKIN:
        return Person(seed, number, variation).get()
    subject, manner, worn = draw_person(subject_rng(seed, number), variation)
    subject = with_other_skin(subject, np.random.default_rng([seed, number, 8]))
    return Scene(subject, noise=variation.noise, worn=worn), manner


def with_other_skin(subject: Subject, rng: np.random.Generator) -> Subject:
    """Return a subject with a beard perhaps, grainier skin and paler lips; always the same number of draws."""
    beard, bearded = float(rng.uniform(*BEARD)), rng.random() < BEARDED
    grain = float(np.exp(rng.uniform(*np.log(GRAIN))))
    lips = float(rng.uniform(*LIPS))
    return replace(
        subject,
        beard=beard if bearded else subject.beard,
        grain=grain,
        lip_strength=subject.lip_strength * lips,
    )
