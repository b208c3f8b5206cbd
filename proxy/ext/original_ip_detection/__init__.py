"""ext.original_ip_detection"""
