"""A clock for what takes a `timer` or a `clock`, so that no test waits for time to pass."""


class Clock:
    """Stands still until it is moved."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s
