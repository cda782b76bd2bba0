"""One file a verb: the only place where the stages meet."""
