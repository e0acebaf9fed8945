"""The sandbox under the name it had in 0.1.0; it lives in `langchain_avengers.sandbox`."""

from langchain_avengers.sandbox.isolation import isolation
from langchain_avengers.sandbox.sandbox import Outcome, Sandbox

__all__ = ["Outcome", "Sandbox", "isolation"]
