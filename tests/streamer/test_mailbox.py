"""The mailbox of size one."""

import asyncio
import threading

import pytest

from streamer.errors import ComputeLostError
from streamer.mailbox import Mailbox, MailboxClosedError


def test_the_newest_item_wins_and_the_others_are_counted_as_dropped() -> None:
    async def scenario() -> None:
        box = Mailbox[int]()
        for item in range(5):
            box.put(item)
        assert await box.get() == 4
        assert (box.num_put, box.num_dropped) == (5, 4)

    asyncio.run(scenario())


def test_a_waiting_get_is_woken_by_a_put_from_another_thread() -> None:
    async def scenario() -> None:
        box = Mailbox[str]()
        waiting = asyncio.create_task(box.get())
        await asyncio.sleep(0)
        assert not waiting.done()
        thread = threading.Thread(target=box.put, args=("hello",))
        thread.start()
        assert await waiting == "hello"
        thread.join()

    asyncio.run(scenario())


def test_every_item_put_from_many_threads_is_either_taken_or_counted() -> None:
    async def scenario() -> None:
        box = Mailbox[int]()

        def put_many() -> None:
            for item in range(500):
                box.put(item)

        async def take() -> int:
            num_taken = 0
            while await box.get() >= 0:
                num_taken += 1
            return num_taken

        taking = asyncio.create_task(take())
        threads = [threading.Thread(target=put_many) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        await asyncio.sleep(0)  # let the last of them be taken
        box.put(-1)
        num_taken = await taking
        assert num_taken >= 1
        assert num_taken + box.num_dropped + 1 == box.num_put == 2001

    asyncio.run(scenario())


def test_closing_wakes_all_who_wait_with_the_error_it_was_given() -> None:
    async def scenario() -> None:
        box = Mailbox[int]()
        waiting = [asyncio.create_task(box.get()) for _ in range(3)]
        await asyncio.sleep(0)
        box.close(ComputeLostError("gone"))
        for task in waiting:
            with pytest.raises(ComputeLostError, match=r"^gone$"):
                await task
        box.close()
        with pytest.raises(ComputeLostError):
            await box.get()

    asyncio.run(scenario())


def test_after_closing_nothing_is_handed_out_and_everything_counts_as_dropped() -> None:
    async def scenario() -> None:
        box = Mailbox[int]()
        box.put(1)
        box.close()
        box.put(2)
        with pytest.raises(MailboxClosedError, match="closed"):
            await box.get()
        assert box.is_closed
        assert (box.num_put, box.num_dropped) == (2, 2)

    asyncio.run(scenario())


def test_an_item_is_not_lost_when_the_one_woken_for_it_is_cancelled() -> None:
    async def scenario() -> None:
        box = Mailbox[int]()
        first, second = (asyncio.create_task(box.get()) for _ in range(2))
        await asyncio.sleep(0)
        box.put(1)
        first.cancel()
        assert await second == 1
        assert first.cancelled()
        assert box.num_dropped == 0

    asyncio.run(scenario())


def test_a_waiter_of_a_loop_that_ended_does_not_hinder_a_put() -> None:
    box = Mailbox[int]()
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(box.get())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    box.put(3)
    assert asyncio.run(box.get()) == 3
    assert not waiting.done()
    waiting._log_destroy_pending = False  # type: ignore[attr-defined]
