"""What Stevora may do that its pages do not say."""

from typing import Annotated, Literal

from attrs import define

from levada.sandbox.quirks import Quirks

__all__ = ["StevoraQuirks"]


@define(kw_only=True)
class StevoraQuirks(Quirks):
    """The switches of a `StevoraServer`. All may be turned while it runs."""

    order: Annotated[
        Literal["newest", "oldest", "hash"],
        "Runs are listed newest first, oldest first, or in no order: by a hash of their ids.",
    ] = "newest"
    no_tie_break: Annotated[
        bool, "Rows of equal createdAt are in another order at every request."
    ] = False
    total_drift: Annotated[
        int, "At one request in three `total` is off by up to so many: an older or newer count."
    ] = 0
    strict_pages: Annotated[bool, "A page beyond the end is 404, not empty."] = False
    failing_request: Annotated[
        int, "The request of this number gets success:false with status 200; 0: none does."
    ] = 0
    no_detail: Annotated[bool, "There is no GET /v1/workflow-runs/{id}."] = False
    bare_runs: Annotated[bool, "Runs have neither version nor updatedAt."] = False
