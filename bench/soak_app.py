"""A small shop as a WSGI application, for bench/soak.py. Each answer is compared with the first one to the same question:
one that differs, and each exception, is a status 500.

With a port as its argument it serves itself, by the standard library; it prints "ready" when it has got there."""

import json
import socketserver
import sqlite3
import sys
import threading
import time
import wsgiref.simple_server

PRODUCTS = 50
ORDERS = 500

database = sqlite3.connect(":memory:", check_same_thread=False)
database.execute("CREATE TABLE item (number INTEGER, product TEXT, amount INTEGER, price REAL)")
database.executemany("INSERT INTO item VALUES (?, ?, ?, ?)", (
    (number % ORDERS, f"product {number % PRODUCTS}", number % 7 + 1, number % 991 / 10) for number in range(ORDERS * 4)))
database.execute("CREATE INDEX item_number ON item (number)")
database_lock = threading.Lock()
answers = {}
answers_lock = threading.Lock()


class Order:
    def __init__(self, number):
        self.number = number
        with database_lock:
            self.items = database.execute("SELECT product, amount, price FROM item WHERE number = ?", (number,)).fetchall()

    def total(self):
        return sum(amount * price for _, amount, price in self.items)

    def risk(self):
        """Something to compute, in Python."""
        value = self.number
        for _ in range(1000):
            value = (value * 31 + 7) & 0xFFFFFFFF
        return value / 0xFFFFFFFF


def ask_the_bank(order):
    """Another service, which takes its time."""
    time.sleep(0.002)
    return order.total() < 10_000


def order_page(number):
    order = Order(number)
    return {"order": number, "items": order.items, "total": order.total(), "risk": order.risk(), "accepted": ask_the_bank(order)}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    status = "200 OK"
    try:
        body = json.dumps(order_page(int(path.rpartition("/")[2])), indent=1).encode()
        with answers_lock:
            if answers.setdefault(path, body) != body:
                raise ValueError(f"another answer than before to {path}: {body!r}")
    except Exception as error:
        status, body = "500 Internal Server Error", repr(error).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 128


class Handler(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_):
        pass


if __name__ == "__main__":
    with wsgiref.simple_server.make_server("127.0.0.1", int(sys.argv[1]), application, Server, Handler) as server:
        print("ready", flush=True)
        server.serve_forever()
