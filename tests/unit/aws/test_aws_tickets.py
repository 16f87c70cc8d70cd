"""Tickets and passes in the table: one taker gets a ticket, and a late TTL changes nothing."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from contract.backends import Backend

from joinery.aws.dynamo_passes import DynamoPasses
from joinery.aws.dynamo_tickets import DynamoTickets
from joinery.identity.passes import Pass
from joinery.identity.tokens import Caller


def test_one_of_many_takers_gets_a_ticket(moto: Backend) -> None:
    tickets = DynamoTickets(moto.client, moto.state_table)
    ada = Caller("ada", time.time() + 3_600.5)
    tickets.put_ticket("a" * 64, ada, time.time() + 30)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: tickets.take_ticket("a" * 64), range(8)))
    assert [caller for caller in found if caller] == [ada]


def test_an_expired_ticket_is_none_though_it_is_still_there(moto: Backend) -> None:
    now = time.time()
    tickets = DynamoTickets(moto.client, moto.state_table, clock=lambda: now)
    tickets.put_ticket("b" * 64, Caller("ada", now + 3_600), now - 1)
    assert tickets.take_ticket("b" * 64) is None
    assert tickets.take_ticket("c" * 64) is None


def test_a_pass_is_found_until_it_expires(moto: Backend) -> None:
    now = 1_764_000_000.0
    passes = DynamoPasses(moto.client, moto.state_table, clock=lambda: now)
    held = Pass(Caller("ada", now + 3_600.5), "run_1", now + 300)
    passes.put_pass("d" * 64, held)
    assert passes.find_pass("d" * 64) == held
    now += 300
    assert passes.find_pass("d" * 64) is None
    assert passes.find_pass("e" * 64) is None
