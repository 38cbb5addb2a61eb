"""HTML pages that need no other file and no network, from templates that escape what they are given."""

import base64
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastck.messages import one_line
from fastck.pages.palette import CLASSES, DARK, DARK_CLASSES, LIGHT

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).with_name("templates")


def render_page(template: str, **values: Any) -> bytes:
    """Return a whole HTML document as UTF-8.

    Parameters
    ----------
    template : str
        Name of a file in `templates`, such as "run.html".
    **values
        What the template shows. Text is escaped, control characters included; only `safe_html` is put in as it is.
    """
    return _environment().get_template(template).render(values).encode()


def notebook_html(title: str, rows: Mapping[str, object], *, picture: bytes = b"", caption: str = "") -> str:
    """Return a small table, and a PNG picture below it, as a notebook shows an object by its `_repr_html_`."""
    shown = data_url(picture, "png") if picture else ""
    return render_page("notebook.html", title=title, rows=list(rows.items()), picture=shown, caption=caption).decode()


def safe_html(text: str) -> Any:
    """Mark text as HTML that was written by fastck's own code, such as a chart."""
    from markupsafe import Markup

    return Markup(text)


def data_url(data: bytes, kind: str) -> str:
    """Return a picture as an address that holds all of it; `kind` is "png", "jpeg" or "gif"."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


@cache
def _environment() -> "jinja2.Environment":
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if hasattr(value, "__html__") else one_line(value),
    )
    for name, colours, classes in (("light", LIGHT, CLASSES), ("dark", DARK, DARK_CLASSES)):
        environment.globals[name] = colours | {f"class-{number}": colour for number, colour in enumerate(classes)}
    return environment
