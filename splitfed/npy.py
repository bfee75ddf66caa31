"""NumPy's own format, read by several threads at a time.

The head of such a file is a Python literal. CPython up to 3.11.7 at least now and then fails where two threads parse
one at the same time ("SystemError: AST constructor recursion depth mismatch", gh-106905): a client would miss a round.
"""

from __future__ import annotations

import threading

one_reader = threading.Lock()
"""Held by whoever reads this format while other threads may."""
