"""Results on disk: the form of records and histories, the store that reads and writes them, and leases."""
