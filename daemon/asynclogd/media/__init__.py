"""Media: read where a rank laid them, encoded in worker processes, kept in the run's media store."""
