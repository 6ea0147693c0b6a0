"""A list that is being sorted for good: the key of its first item never comes."""

import json
import sys


def key(number):
    print(json.dumps("ready"), flush=True)
    sys.stdin.readline()
    return number


numbers = [3, 1, 2]
numbers.sort(key=key)
