"""The modules that the tests' programs name by import path: importable here and, with this process's path, in workers."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
