"""An HTTP/1.1 client for links, byte for byte: connections of our own, or aiohttp; S3's errors; the server's clock."""
