"""Takes orders: has payments charge the card, and counts them in Redis when there is one, else by itself."""
import itertools
import os
import socket
import time
import urllib.error
import urllib.request

import service


def order(path):
    if path != "/order":
        return 404, "no such page\n"
    try:
        with urllib.request.urlopen(os.environ["PAYMENTS"] + "/charge", timeout=5) as answer:
            charged = answer.read().decode()
    except urllib.error.HTTPError as error:
        return 502, f"payments said {error.code}: {error.read().decode()}\n"
    except OSError as error:
        return 502, f"payments can't be asked: {error}\n"
    # The card stays between the two.
    return 200, f"order {count()}: {charged.split()[0]}\n"


orders = itertools.count(1)
absent_until = 0


def count():
    """Redis's protocol is simple enough to be spoken by hand: a line of words, a line with the number."""
    global absent_until
    if time.monotonic() < absent_until:
        return next(orders)
    try:
        with socket.create_connection((os.environ["REDIS"], 6379), timeout=5) as redis:
            redis.sendall(b"INCR orders\r\n")
            return int(redis.recv(64).removeprefix(b":"))
    except (OSError, ValueError):
        absent_until = time.monotonic() + 60
        return next(orders)


service.serve(order)
