"""Users that call themselves by an address: warned of once, whatever strangers call themselves."""

from __future__ import annotations

import threading

from tests.mining.makers import PAYOUT
from warppool.service.onceperuser import BURST, MAX_REMEMBERED, REFILL_S
from warppool.service.unpaid import UnpaidNames

ADDRESS = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
OTHER = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"
PAID_SCRIPT = bytes.fromhex("0014751e76e8199196d454941c45d1b3a323f1433bd6")       # of ADDRESS


def address(number: int) -> str:
    """Looks like one, whatever its checksum."""
    return f"bc1q{number:038d}".replace("1q0", "1qz")


def test_a_user_is_warned_of_once_and_the_one_who_is_paid_never():
    names = UnpaidNames("main", PAID_SCRIPT)
    assert not names.is_news(ADDRESS, 0.0) and not names.is_news(ADDRESS.upper(), 0.0)
    assert names.is_news(OTHER, 0.0)
    assert not any(names.is_news(OTHER, float(second)) for second in range(100_000))
    assert not names.is_news("alice", 0.0)


def test_an_address_of_another_network_is_not_paid():
    assert UnpaidNames("signet", PAYOUT).is_news(ADDRESS, 0.0)


def test_a_stranger_with_many_names_makes_few_lines_and_fills_no_memory():
    names = UnpaidNames("main", PAYOUT)
    lines = sum(names.is_news(address(number), number / 1000) for number in range(60_000))      # for a minute
    assert BURST <= lines <= BURST + 60 / REFILL_S
    for number in range(3 * MAX_REMEMBERED):
        names.is_news(address(100_000 + number), 1e6 + number * 100)
    assert len(names._said) <= MAX_REMEMBERED


def test_who_is_passed_over_is_warned_of_the_next_time():
    names = UnpaidNames("main", PAYOUT)
    assert all(names.is_news(address(number), 0.0) for number in range(BURST))
    assert not names.is_news(OTHER, 0.0)
    assert names.is_news(OTHER, REFILL_S) and not names.is_news(OTHER, 1e6)


def test_workers_that_ask_at_once_get_one_warning():
    names = UnpaidNames("main", PAYOUT)
    found: list[bool] = []
    threads = [threading.Thread(target=lambda: found.append(names.is_news(OTHER, 1.0))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(True) == 1
