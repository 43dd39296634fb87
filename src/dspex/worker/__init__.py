"""Worker processes: `host` starts, feeds and ends them, `child` is what runs inside. The two share the wire and nothing else."""
