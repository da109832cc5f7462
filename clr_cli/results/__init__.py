"""Results that other tools have written: files of any usual kind -> runs.

`read_results` is the way in; `overview` says what there is before it is compared.
"""

from clr_cli.results.query import Query, Results
from clr_cli.results.read import read_results

__all__ = ["Query", "Results", "read_results"]
