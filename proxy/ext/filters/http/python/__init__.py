"""HTTP filters that are Python classes of the operator (outrider.filters.http.python.v1.Python).

    filter.py    the filter of the chain: calls the class's hooks, contains their errors
    course.py    one direction of one stream while a hook awaits, or a whole body is gathered
    load.py      the class: found on the import path or in a file, built with its configuration
    context.py   what the class is given: its name, a log, counters, requests through configured clusters
    faults.py    what goes wrong in it: counted, logged at a bounded rate

For the people who write such classes: docs/python-filters.md.
"""

from proxy.ext.filters.http.python.filter import PythonFilter

__all__ = ["PythonFilter"]
