"""Write an HTML page with which anyone uploads one file from a browser.

python examples/upload_page.py BUCKET 'incoming/${filename}' > upload.html
"""

import asyncio
import sys
from html import escape

from bulkpresign import create_presigned_post

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Upload</title>
<form action="{url}" method="post" enctype="multipart/form-data">
{fields}
<input type="file" name="file" required>
<button>Upload</button>
</form>"""


def main(bucket: str, key: str) -> None:
    form = asyncio.run(
        create_presigned_post(
            bucket,
            key,
            fields={"success_action_status": "201"},
            conditions=[{"success_action_status": "201"}],
        )
    )
    if form is None:
        sys.exit("no form could be made; the log says why")
    fields = "\n".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in form["fields"].items()
    )
    print(PAGE.format(url=escape(form["url"]), fields=fields))


if __name__ == "__main__":
    main(*sys.argv[1:])
