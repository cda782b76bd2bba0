"""From a GET link to a verified file: in one stream, or in ranges."""
