"""What stands below a service in `rollback.yaml` and is more than a target: one module each, from the file's shape to
the frozen values that handlers read, with every mistake at its place."""
