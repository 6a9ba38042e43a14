"""Somebody in the mesh who has no business with payments, and asks all the same."""
import os
import time
import urllib.error
import urllib.request

while True:
    try:
        with urllib.request.urlopen(os.environ["PAYMENTS"] + "/charge", timeout=5) as answer:
            print("payments told me:", answer.read().decode().strip())
    except urllib.error.HTTPError as error:
        print("payments refused me:", error.code, error.read().decode().strip())
    except OSError as error:
        print("payments can't be asked:", error)
    time.sleep(2)
