"""Access logs: which streams are logged, and where their lines go. The loggers themselves are in ext/access_loggers.

access_log.py   AccessLog: a filter and a logger        filters.py      AccessLogFilter, compiled
log_format.py   SubstitutionFormatString, compiled      log_file.py     the buffered file under file, stdout, stderr
"""
