#!/usr/bin/env python3
"""Two transfers that each hold an account and wait for the other's: a deadlock to dump.

Prints "ready" once both wait. Python 3.13 or later.
"""

import threading
import time


class Account:
    def __init__(self, name, balance):
        self.name = name
        self.balance = balance
        self.lock = threading.Lock()


def transfer(source, target, amount, both_hold_one):
    with source.lock:
        both_hold_one.wait()
        with target.lock:
            source.balance -= amount
            target.balance += amount


def main():
    tea, coffee = Account("tea", 120), Account("coffee", 80)
    both_hold_one = threading.Barrier(3)
    transfers = [
        threading.Thread(target=transfer, args=(tea, coffee, 5, both_hold_one), name="tea-to-coffee", daemon=True),
        threading.Thread(target=transfer, args=(coffee, tea, 7, both_hold_one), name="coffee-to-tea", daemon=True),
    ]
    for thread in transfers:
        thread.start()
    both_hold_one.wait()
    time.sleep(0.5)  # until they have come to the second lock
    print("ready", flush=True)
    for thread in transfers:
        thread.join()


if __name__ == "__main__":
    main()
