"""An end to waiting for clients that know none, such as pyarrow's of Azure's store."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


def answered(seconds: float, call: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a call returns, made in a thread that is left behind if it takes too long.

    A signal is answered meanwhile, as it would not be within the call.

    Raises:
        TimeoutError: the call took longer.
    """
    answer: Future[Any] = Future()

    def ask() -> None:
        try:
            answer.set_result(call(*arguments))
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        if answer.done():
            raise
        raise TimeoutError(f"no answer within {seconds:g} s") from None
