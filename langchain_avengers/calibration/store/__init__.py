"""The store of a calibration: one SQLite file that survives kill -9 and takes several runners at once.

All SQL of the package is here. `database.py` is the file and its schema, `results.py` what is read of it, `ledger.py`
what a runner writes.
"""

from langchain_avengers.calibration.store.database import FILE, SCHEMA_VERSION
from langchain_avengers.calibration.store.ledger import Cell, Store, StoredSample
from langchain_avengers.calibration.store.results import ModelStatus

__all__ = ["FILE", "SCHEMA_VERSION", "Cell", "ModelStatus", "Store", "StoredSample"]
