"""Jobs of a run on other processes: batches are sent as bytes, and their results come back."""
