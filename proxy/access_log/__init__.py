"""access_log"""
