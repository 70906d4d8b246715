"""What the doctor says of one thing."""

from dataclasses import dataclass
from enum import Enum

from hubfs.errors import printable


class Verdict(Enum):
    """How well a thing is."""

    OK = "ok"
    WARNING = "warning"  # a mount works without, but slower, or not for everybody
    PROBLEM = "problem"  # a mount does not work, or one does not


@dataclass(frozen=True)
class Finding:
    """`subject` is what was looked at, `said` what was seen, `advice` what to do, if there is something to do."""

    verdict: Verdict
    subject: str
    said: str
    advice: str = ""

    def __str__(self) -> str:
        """One line, and one of advice."""
        line = printable(f"{self.verdict.value:<8}{self.subject}: {self.said}")
        return f"{line}\n        -> {printable(self.advice)}" if self.advice else line


def ok(subject: str, said: str) -> Finding:
    """All is well."""
    return Finding(Verdict.OK, subject, said)


def warning(subject: str, said: str, advice: str) -> Finding:
    """It works, with a drawback."""
    return Finding(Verdict.WARNING, subject, said, advice)


def problem(subject: str, said: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(Verdict.PROBLEM, subject, said, advice)
