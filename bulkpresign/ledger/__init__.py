"""The outcomes of objects: the journal, counts, progress, reports."""
