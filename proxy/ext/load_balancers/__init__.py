"""ext.load_balancers"""
