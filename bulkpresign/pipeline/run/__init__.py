"""The parts of a run that all verbs share: settings, journal, renewal, failures file, and the run itself."""
