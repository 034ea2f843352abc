"""A pending result can be awaited in any loop, waited for without one, and never deadlocks in silence."""

import asyncio
import gc
import logging
import threading

import pytest

from latentspeed.connectors import ConnectorError, Pending


def test_a_resolved_one_is_there_without_a_loop():
    pending = Pending.resolved(7)
    assert pending.done()
    assert pending.result(0) == 7
    assert "7" in repr(pending)


def test_a_failure_is_raised_where_it_is_asked_for():
    pending = Pending.failed(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        pending.result(0)
    assert isinstance(pending.exception(), ValueError)


def test_waiting_too_long_is_a_timeout_and_the_result_still_comes():
    pending = Pending()
    with pytest.raises(TimeoutError, match=r"0\.01 s"):
        pending.result(0.01)
    assert pending.exception() is None
    assert pending.set_result(1) is True
    assert pending.result(0) == 1


def test_the_first_outcome_counts():
    pending = Pending()
    assert pending.set_result(1) is True
    assert pending.set_result(2) is False
    assert pending.set_exception(ValueError()) is False
    assert pending.result() == 1


def test_a_timeout_error_that_is_the_outcome_is_not_taken_for_waiting_too_long():
    pending = Pending.failed(TimeoutError("the venue did not answer"))
    with pytest.raises(TimeoutError, match="the venue"):
        pending.result(0)


def test_it_can_be_awaited_many_times_before_and_after():
    async def main():
        pending = Pending()
        waiters = [asyncio.ensure_future(wait(pending)) for _ in range(3)]
        await asyncio.sleep(0)
        pending.set_result("done")
        return [await waiter for waiter in waiters] + [await pending]

    async def wait(pending):
        return await pending

    assert asyncio.run(main()) == ["done"] * 4


def test_cancelling_one_await_leaves_the_operation_and_the_other_awaits_alone():
    async def main():
        pending = Pending()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(pending, 0.01)
        assert not pending.done()
        pending.set_result(3)
        return await pending

    assert asyncio.run(main()) == 3


def test_a_coroutine_of_the_running_loop_is_run_and_awaited():
    async def work():
        await asyncio.sleep(0)
        return 5

    async def main():
        pending = Pending.run(work(), asyncio.get_running_loop())
        assert not pending.done()
        return await pending

    assert asyncio.run(main()) == 5


def test_waiting_inside_the_loop_that_must_do_the_work_is_refused_and_not_a_deadlock():
    async def main():
        pending = Pending.run(asyncio.sleep(0, "late"), asyncio.get_running_loop())
        with pytest.raises(RuntimeError, match="use await"):
            pending.result(1)
        assert await pending == "late"
        return pending.result()

    assert asyncio.run(main()) == "late"


@pytest.fixture
def other_loop():
    """An event loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


def test_a_coroutine_of_another_threads_loop_can_be_waited_for_and_awaited_here(other_loop):
    async def work():
        await asyncio.sleep(0.01)
        return threading.get_ident()

    assert Pending.run(work(), other_loop).result(60) != threading.get_ident()

    async def main():
        return await Pending.run(work(), other_loop)

    assert asyncio.run(main()) != threading.get_ident()


def test_a_thread_with_its_own_loop_awaits_what_the_main_loop_does():
    results = []

    async def main():
        pending = Pending.run(asyncio.sleep(0.01, "from main"), asyncio.get_running_loop())

        def in_thread():
            async def wait():
                return await pending

            results.append(asyncio.run(wait()))

        await asyncio.to_thread(in_thread)

    asyncio.run(main())
    assert results == ["from main"]


def test_a_failing_coroutine_fails_the_pending(other_loop):
    async def work():
        raise ValueError("venue said no")

    with pytest.raises(ValueError, match="venue said no"):
        Pending.run(work(), other_loop).result(60)


def test_a_cancelled_task_is_a_failure_and_not_a_cancelled_waiter():
    async def main():
        pending = Pending.run(asyncio.sleep(10), asyncio.get_running_loop())
        await asyncio.sleep(0)
        pending._task.cancel()
        with pytest.raises(ConnectorError, match="cancelled before"):
            await pending

    asyncio.run(main())


def test_a_closed_loop_is_an_error_at_once():
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(ConnectorError, match="closed"):
        Pending.run(asyncio.sleep(0), loop)


def test_a_failure_that_nobody_asked_for_is_logged(caplog):
    with caplog.at_level(logging.ERROR):
        Pending.failed(ValueError("unheard"))
        gc.collect()
    assert "unheard" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.ERROR):
        pending = Pending.failed(ValueError("heard"))
        pending.exception()
        del pending
        gc.collect()
    assert caplog.text == ""


def test_callbacks_are_called_once_the_outcome_is_there():
    pending, heard = Pending(), []
    pending.add_done_callback(lambda done: heard.append(done.result()))
    assert heard == []
    pending.set_result(4)
    pending.add_done_callback(lambda done: heard.append(done.result()))
    assert heard == [4, 4]


def test_a_failure_after_its_awaiter_was_cancelled_is_no_error_of_the_loop():
    async def run():
        told, pending = [], Pending()
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await pending
        pending.set_exception(ValueError("late"))
        assert isinstance(pending.exception(), ValueError)
        await asyncio.sleep(0.01)
        del pending
        gc.collect()
        return told

    assert asyncio.run(run()) == []


def test_a_failure_that_was_awaited_is_not_logged_as_unasked(caplog):
    async def fails():
        await asyncio.sleep(0)
        raise ConnectorError("away")

    async def ask():
        with pytest.raises(ConnectorError, match="away"):
            await Pending.run(fails(), asyncio.get_running_loop())

    with caplog.at_level(logging.ERROR):
        asyncio.run(ask())
        gc.collect()
    assert caplog.records == []
