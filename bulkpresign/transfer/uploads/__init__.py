"""From a file to a PUT link: in one request, or in parts."""
