"""A page with links for a browser, or with upload forms.

It has no script and loads nothing. Its links and forms are as secret as a manifest.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from xml.etree.ElementTree import Element

from bulkpresign.manifest.forms import most_bytes
from bulkpresign.markup import document, element, head
from bulkpresign.model import Link, Post
from bulkpresign.redact import escaped
from bulkpresign.text import counted, show_bytes

#: Rows of a page, at most: it is for people, and browsers become slow with more.
MOST_ROWS = 10_000
_FORM_TYPE = "multipart/form-data"
#: In the key of an upload form, S3 replaces this by the name of the file that is sent.
_OWN_NAME = "${filename}"
#: The field with the status of the response to an upload. A browser leaves the page for these; S3's default is 204.
_STATUS, _LEFT_FOR = "success_action_status", frozenset({"200", "201"})
#: Fields with a page to which the browser goes after an upload.
_REDIRECTS = ("success_action_redirect", "redirect")


def links_page(links: Sequence[Link]) -> str:
    """The page of GET links, in their order."""
    rows = [_link_row(link) for link in links]
    sizes = [link.object.size for link in links]
    count = counted(len(links), "file")
    total = f", {show_bytes(sum(size or 0 for size in sizes))}" if links and None not in sizes else ""
    until = _until(link.expires_at for link in links)
    return _page("Files", f"{count}{total}.{until}", element("table", element("tbody", *rows)) if rows else None)


def forms_page(posts: Sequence[Post]) -> str:
    """The page of upload forms, in their order. Each takes one file at a time."""
    count = counted(len(posts), "upload form")
    until = _until(post.expires_at for post in posts)
    stays = "" if all(map(_leaves_page, posts)) else " Once a file is uploaded, the browser shows this page as before."
    return _page("Uploads", f"{count}. Each takes one file at a time.{stays}{until}", *map(_form, posts))


def _leaves_page(post: Post) -> bool:
    """True for a form after whose upload the browser shows another page."""
    return post.fields.get(_STATUS) in _LEFT_FOR or any(name in post.fields for name in _REDIRECTS)


def _link_row(link: Link) -> Element:
    size = link.object.size
    anchor = element("a", _name(link.object.file_path), href=link.url, rel="noreferrer", download="")
    return element("tr", element("td", anchor), element("td", "" if size is None else show_bytes(size), class_="size"))


def _form(post: Post) -> Element:
    hidden = [element("input", type="hidden", name=name, value=value) for name, value in post.fields.items()]
    choice = element("input", type="file", name="file", required="")
    name = post.object.key or post.fields.get("key") or post.object.file_path
    label = element("label", _name(name.replace(_OWN_NAME, "(the name of your file)")), choice)
    most = most_bytes(post)
    if most is not None:
        label.append(element("small", f"at most {show_bytes(most)}"))
    return element(
        "form", *hidden, label, element("button", "Upload"), action=post.url, method="post", enctype=_FORM_TYPE
    )


def _name(name: str) -> Element:
    """The name of a file. `bdi`: letters that run from right to left move nothing around it."""
    return element("bdi", escaped(name))


def _until(moments: Iterable[datetime | None]) -> str:
    known = [moment for moment in moments if moment is not None]
    return f" Valid until {min(known).astimezone(UTC):%Y-%m-%d %H:%M} UTC." if known else ""


def _page(title: str, words: str, *content: Element | None) -> str:
    secret = "Everyone with this page can use it: pass it on as you would a password."
    main = element("main", element("h1", title), element("p", words), *content)
    style = (files("bulkpresign.manifest") / "page.css").read_text("utf-8")
    no_referrer = element("meta", name="referrer", content="no-referrer")  # no server is told where a link was followed
    body = element("body", main, element("footer", element("p", secret)))
    return document(head(title, style, no_referrer, form_action="http: https:"), body)
