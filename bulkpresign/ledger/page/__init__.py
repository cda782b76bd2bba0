"""The report of a journal as one HTML file, readable offline, on paper, on a phone and in the dark."""
