"""What lets a request through, or not: rights, admission, validation, quotas."""
