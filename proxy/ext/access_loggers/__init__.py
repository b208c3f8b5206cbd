"""ext.access_loggers"""
