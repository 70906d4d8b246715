"""What a refusal of Kaggle's means: a consent that is not given, a private model, or one that is not there."""

from collections.abc import Callable
from http import HTTPStatus

from hubfs.errors import AccessDenied, HubfsError, ModelNotFound


class Refused(AccessDenied):
    """Kaggle's API answered 401 or 403, and worded the reason so."""

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason.lower()


def meaning_of(refused: Refused, name: str, account: str, is_listed: Callable[[], bool | None]) -> HubfsError:
    """The error for readers of the model `name`, in words for them; `account` says by what hubfs signs in.

    Kaggle answers 403 for models whose terms ask for consent and for private ones, each with words of its own, and also
    for some that do not exist. For other words `is_listed` decides, which says whether the list of the owner's models
    has it (None: it could not be asked). A private model is in no list that others get.
    """
    page = f"https://www.kaggle.com/models/{name}"
    if refused.status == HTTPStatus.UNAUTHORIZED:
        return AccessDenied(f"{refused}: Kaggle wants other credentials (hubfs signs in by {account})")
    if "consent" in refused.reason:
        return AccessDenied(f"{refused}: its terms ask for consent; give it at {page} (hubfs signs in by {account})")
    if "models.get" in refused.reason:
        return AccessDenied(f"{refused}: it is private, or it is not there (hubfs signs in by {account})")
    listed = is_listed()
    if listed is False:
        return ModelNotFound(f"{refused}: the list of its owner's models does not have {name}")
    if listed:
        return AccessDenied(f"{refused}: it is there; if {page} asks for consent to its terms, give it there")
    return AccessDenied(
        f"{refused}: if {page} asks for consent to the model's terms, give it there; "
        "Kaggle says the same of a private model, and of some that do not exist"
    )
