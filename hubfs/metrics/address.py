"""Where metrics are served."""

from typing import NamedTuple


class Address(NamedTuple):
    """A host, and a port; port 0 is one that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
