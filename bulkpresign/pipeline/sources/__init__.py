"""The sources of a run: tables, listings, links and rows that a program gives; read, checked, and made into links."""
