"""Factories for programs that are declared as data. Each runs in a worker and imports what it needs there, never before."""
