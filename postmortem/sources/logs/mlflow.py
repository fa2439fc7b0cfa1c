"""MLflow's two stores: a directory of small files per run, and a SQLite data base."""

from postmortem.sources.logs.mlflow_files import FILES
from postmortem.sources.logs.mlflow_sqlite import SQLITE

READERS = (FILES, SQLITE)
