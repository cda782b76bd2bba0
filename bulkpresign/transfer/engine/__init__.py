"""The run of a transfer: how many requests are in flight, and which come next."""
