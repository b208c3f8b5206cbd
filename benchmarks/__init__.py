"""CPU per request beside Envoy, in one run, taking turns: ``make bench``.

machine.py    CPU time and memory of a process tree
peers.py      the load (wrk), the upstream (nginx) and the collector, on the other CPU
server.py     a small server of our own: the collector, and the upstream where nginx is missing
workloads.py  what is asked of both proxies
run.py        the samples, and the proof that the work was done
report.py     the table, the JSON, the bars
micro.py      the corridor in process, without sockets
"""
