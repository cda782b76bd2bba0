"""A run of a verb that transfers: settings, journal, failures file, outcomes, and the run itself."""
