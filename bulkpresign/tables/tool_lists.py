"""Recognizes lists of links for other tools, as `convert` writes them: they are not read."""

import re

_CURL = re.compile(r"fail\n+globoff\b|url = \"")
_ARIA2 = re.compile(r"https?://\S+[?&](?:X-Amz-)?(?:Signature|Expires)=\S*\n+  out=")
#: Url and name; the signature of a link, or its end, has no comma.
_RCLONE = re.compile(r'"?https?://\S+[?&](?:X-Amz-)?(?:Signature|Expires)=[^\s&,"]*"?,')
_TOOLS = (("curl --config", _CURL), ("aria2c --input-file", _ARIA2), ("rclone copyurl --urls", _RCLONE))


def tool_list_problem(start: str) -> str | None:
    """The problem with a table whose first two rows are those of a list for another tool, or None."""
    for command, pattern in _TOOLS:
        if pattern.match(start):
            tool = command.partition(" ")[0]
            return f"a list of links for {tool} ({command} reads it): use the table that it was made of"
    return None
