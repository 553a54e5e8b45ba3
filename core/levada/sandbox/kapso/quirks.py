"""What Kapso may do that its reference does not say."""

from datetime import timedelta
from typing import Annotated, Literal

from attrs import define

from levada.sandbox.quirks import ZERO, Quirks

__all__ = ["KapsoQuirks"]


@define(kw_only=True)
class KapsoQuirks(Quirks):
    """The switches of a `KapsoServer`. All may be turned while it runs."""

    timestamp_cursors: Annotated[
        bool, "Cursors hold a time without an id: ties are skipped between pages."
    ] = False
    expired_cursors: Annotated[bool, "Every cursor is answered with 400."] = False
    repeated_cursor: Annotated[bool, "`next` is the cursor that was asked with, for ever."] = False
    next_urls: Annotated[bool, "`next` and `previous` are URLs, not cursors."] = False
    page_cap: Annotated[int, "Pages have at most so many rows, whatever the limit; 0: any."] = 0
    extra_rows: Annotated[int, "Pages have so many rows more than the limit."] = 0
    meta_paging: Annotated[
        Literal["never", "without_limit", "always"],
        "Lists are paged by number: never, without_limit (where no cursor is sent either), always.",
    ] = "never"
    no_detail: Annotated[bool, "There is no GET /workflow_executions/{id}."] = False
    no_workflows: Annotated[bool, "There is no GET /workflows."] = False
    detail_newest: Annotated[int, "An execution shows only its newest so many events; 0: all."] = 0
    detail_oldest: Annotated[int, "An execution shows only its oldest so many events; 0: all."] = 0
    context_bytes: Annotated[int, "The execution_context has a text of so many bytes."] = 0
    bare_workflows: Annotated[
        bool, "Workflows have neither execution_count nor last_executed_at."
    ] = False
    no_status: Annotated[bool, "Executions in the list have no status."] = False
    last_event_at_lag: Annotated[timedelta, "last_event_at is as it was so long ago."] = ZERO
    log_search: Annotated[
        Literal["absent", "available", "unavailable", "failing"],
        "The feed /log_search is absent (404), available, unavailable, or failing (422).",
    ] = "absent"
    log_search_lag: Annotated[timedelta, "The feed has an event only after so long."] = ZERO
