"""Builds HTML and SVG as a tree. Every text and every attribute is escaped when the tree is written."""

import hashlib
from base64 import b64encode
from xml.etree.ElementTree import Element, tostring

#: A child of an element; None is left out.
Child = Element | str | None


def element(tag: str, *children: Child, **attributes: str | float) -> Element:
    """An element. `_` in the names of attributes stands for `-`; a last one is left out, as in `class_`."""
    made = Element(tag, {name.rstrip("_").replace("_", "-"): _value(value) for name, value in attributes.items()})
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif child is not None:
            _add_text(made, child)
    return made


def percent(share: float) -> str:
    """A share from 0 to 1 as a length: `12.5%`."""
    return f"{100 * share:.4g}%"


def head(title: str, style: str, *more: Element, form_action: str = "'none'") -> Element:
    """The head of a page that has no scripts and loads nothing: the browser refuses these.

    `style` is CSS, which the browser knows by its hash. `form_action` says where forms may be sent, as a
    Content-Security-Policy has it.
    """
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action {form_action}"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        *more,
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", style),
    )


def document(head: Element, body: Element) -> str:
    """The text of a page in English."""
    page = tostring(element("html", head, body, lang="en"), encoding="unicode", method="html")
    return f"<!DOCTYPE html>\n{page}\n"


def _add_text(parent: Element, text: str) -> None:
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
