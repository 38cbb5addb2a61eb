"""A few real faces that come with the package: something to try everything on before one's own data is there."""

from pathlib import Path


def sample() -> Path:
    """Return the root of three short real sequences in CK+'s layout, each a smile from neutral to apex.

    Returns
    -------
    root : Path
        The folder that holds ``cohn-kanade-images`` and ``Emotion``: three people, five frames of 640x490 gray pixels
        each, labelled happy. It lies inside the installed package: read it, write elsewhere.

    Notes
    -----
    Photographs of the Face Research Lab London Set (DeBruine and Jones, 2017, doi 10.6084/m9.figshare.5047666),
    CC BY 4.0. First and last frame are photographs, those between them a morph; ``ATTRIBUTION.md`` beside them says
    what was changed.

    Examples
    --------
    >>> import fastck
    >>> store = fastck.preprocess(fastck.sample(), "store")
    """
    return Path(__file__).with_name("sample_set")
