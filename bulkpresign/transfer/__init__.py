"""From jobs to bytes moved: the engine, downloads, uploads, and files on disk."""
