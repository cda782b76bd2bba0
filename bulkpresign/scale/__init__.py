"""Jobs of a run on other processes: batches go out as bytes, and what became of them comes back."""
