"""The watchdog: a thread that looks for owners that don't get on and loops that don't run, and tells where they are."""
