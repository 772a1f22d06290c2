"""Pages: one HTML file each that needs nothing from anywhere else, light or dark as the reader is.

`render` fills a template of this folder; `charts` draws lines as inline SVG.
"""

from typing import Any


def render(template: str, **values: Any) -> str:
    """Returns a page.

    Args:
        template: name of a template of this folder, without `.html.jinja`.
        values: what it is filled with; text is escaped, and a missing value is an error.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("flan_jax.pages", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(f"{template}.html.jinja").render(**values)
