"""The benchmark's driver: starts pairs of proxies, loads them with tools not of our making, reads what they cost."""
