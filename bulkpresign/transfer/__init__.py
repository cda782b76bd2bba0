"""Links become bytes moved: requests, retries, files on disk. The only room that knows aiohttp."""
