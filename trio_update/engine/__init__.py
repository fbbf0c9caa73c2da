"""Journal, transaction, jobs, refresh and the manager that users embed."""
