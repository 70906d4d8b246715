"""The end of an event loop that served: without it, its connections are closed whenever their memory is given back."""

import asyncio


async def end_others() -> None:
    """Cancels all other tasks of the loop, and waits until those, and the transports that they close, are gone.

    To be called once nothing listens any more. A connection that was accepted a moment earlier has a task by then.
    """
    await asyncio.sleep(0)  # connections that were just accepted get their tasks
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for _ in range(3):  # transports that were closed close their sockets
        await asyncio.sleep(0)
