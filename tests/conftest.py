"""One thread per process, before anything loads a library that starts more: the trainings of the tests are small, and their processes share the cores."""

import os

for library in ("OMP", "MKL", "OPENBLAS"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
