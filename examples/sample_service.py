#!/usr/bin/env python3
"""A small order service whose threads each wait, or work, in a typical way: something to dump.

Prints "ready" once every thread is where it stays, then serves until it is killed. Python 3.13 or later.
"""

import asyncio
import linecache
import queue
import socket
import socketserver
import sys
import threading
import time


class Database:
    """A connection to a server that never answers."""

    def __init__(self):
        self.connection, self.server = socket.socketpair()

    def query(self, statement):
        self.connection.sendall(statement.encode())
        return self.connection.recv(4096)


class Inventory:
    def __init__(self, database):
        self.database = database
        self.lock = threading.Lock()
        self.stock = {"tea": 120, "coffee": 80}

    def refresh(self, refreshing):
        with self.lock:
            refreshing.set()
            self.stock = self.database.query("SELECT item, count FROM stock")

    def reserve(self, item, count):
        with self.lock:
            self.stock[item] -= count


class PriceModel:
    """Fits prices to sales, for ever."""

    def __init__(self, sales):
        self.sales = sales
        self.weight = 1.0

    def train(self):
        while True:
            self.weight -= 1e-9 * self.gradient()

    def gradient(self):
        return sum((self.predict(price) - sold) * price for price, sold in self.sales)

    def predict(self, price):
        return sum(self.weight * price / n for n in range(1, 50))


def process_orders(orders, inventory):
    while item := orders.get():
        inventory.reserve(item, 1)


async def send_mails(outbox, sending):
    sending.set()
    while mail := await outbox.get():
        print("sent", mail)


async def notify(sending):
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(3600), name="hourly-report")
        group.create_task(send_mails(asyncio.Queue(), sending), name="mailer")


class OrderHandler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.server.orders.put(line.decode().strip())


def current_line(thread):
    frame = sys._current_frames().get(thread.ident)
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno) if frame else ""


def keep_prices(model, waiting):
    while not all(line in current_line(thread) for thread, line in waiting.items()):
        time.sleep(0.001)
    print("ready", flush=True)
    model.train()


def main():
    waiting = {threading.current_thread(): "_selector.poll"}  # where each thread is to wait

    def start(name, line, target, *arguments):
        thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)
        thread.start()
        waiting[thread] = line

    inventory = Inventory(Database())
    refreshing, sending = threading.Event(), threading.Event()
    start("stock-sync", "connection.recv", inventory.refresh, refreshing)
    refreshing.wait()
    start("checkout-1", "with self.lock", inventory.reserve, "tea", 3)
    start("checkout-2", "with self.lock", inventory.reserve, "coffee", 1)
    start("notifier", "_selector.poll", asyncio.run, notify(sending))
    sending.wait()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), OrderHandler) as server:
        server.orders = queue.Queue()
        for number in (1, 2, 3):
            start(f"worker-{number}", "waiter.acquire", process_orders, server.orders, inventory)
        model = PriceModel([(n, 3 * n) for n in range(1, 200)])
        threading.Thread(target=keep_prices, args=(model, waiting), name="pricing", daemon=True).start()
        server.serve_forever()


if __name__ == "__main__":
    main()
