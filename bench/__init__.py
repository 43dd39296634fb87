"""
What things cost, each measured beside what it is compared with, in the same run and in turns.

``python -m bench`` prints a table and writes ``bench/results.json``. ``--quick`` is a smoke run, ``--large`` adds a million variables.
"""
