"""The engine: carries out what `decide` asks for. `reconciler` drives runs, `attempt` is one pass of one handler,
`executor` hands attempts to DBOS. Handlers are called from nowhere else."""
