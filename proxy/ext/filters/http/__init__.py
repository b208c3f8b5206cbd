"""ext.filters.http"""
