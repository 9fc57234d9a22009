"""Pyroscope's own SDK profiles this program and pushes to the server that the first argument names."""

import sys
import time

import pyroscope


def burn_the_candle(until):
    total = 0
    while time.monotonic() < until:
        total += sum(number * number for number in range(1000))
    return total


pyroscope.configure(
    application_name="sdk-test",
    server_address=sys.argv[1],
    sample_rate=100,
    oncpu=True,
    tags={"region": "eu", "hostname": "private-host-7"},
)
burn_the_candle(time.monotonic() + float(sys.argv[2]))
pyroscope.shutdown()
