"""Messages over plain TCP or UDP: from a server we connect to, or from devices that connect to us.

Inside this package `import socket` means the standard library: imports are absolute.
"""
