"""One module a verb: the only place where the stages meet. The sub-packages hold what verbs share."""
