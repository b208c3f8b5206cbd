"""ext.stats_sinks"""
