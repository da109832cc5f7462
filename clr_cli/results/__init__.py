"""Read results of other tools: files of any usual kind become runs.

`read_results` is the entry; `overview` shows what files contain before they are compared.
"""

from clr_cli.results.query import Query, Results
from clr_cli.results.read import read_results

__all__ = ["Query", "Results", "read_results"]
