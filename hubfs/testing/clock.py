"""A clock for every parameter that is named `timer` or `clock`: no test waits for time to pass."""


class Clock:
    """Stands still at `now_s`, in seconds, until a test moves it: `clock.now_s += 5`."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now_s
