"""One credential at one origin: patient GETs, POSTs sent once."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from itertools import count
from typing import Any

from attrs import define, field, frozen

from levada.errors import Failure, Fatal, Retry, TooLarge
from levada.holding import Holding
from levada.http.address import Address
from levada.http.body import TooLong, UnknownCoding
from levada.http.budget import Budget
from levada.http.clock import Clock
from levada.http.outgoing import Outgoing, Writer
from levada.http.slots import Lost, Reply, Slots, Wanted
from levada.retry import backoff, http_date, is_transient, retry_after
from levada.secret import ApiKey

log: logging.Logger = logging.getLogger("levada.http")

ENOUGH_BYTES = 64 * 1024
"""Of a body that only explains a status, this much is read."""

OBEDIENCE_S = 90.0
POST_PATIENCE_S = 1.0
"""How long a POST waits for the other side's pause to end; longer waits belong to the host."""

WARN_FIRST, WARN_EVERY = 3, 10
"""Which failed attempts of one GET are worth a line in the log: the 3rd, the 13th, …"""


@frozen
class Answer:
    """An answer that arrived whole; of the answer to a POST, the body may be cut short."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    place: str


@frozen(kw_only=True)
class Limits:
    """What one client keeps to."""

    deadline_s: float
    body_bytes: int
    patience_s: float
    """How long a GET goes on after its first failure."""

    obedience_s: float = OBEDIENCE_S
    """How long a GET goes on after its first 429: a vendor that asks to wait is in good health."""

    def patience_for(self, again: "_Again") -> float:
        """Tell how long a GET goes on after the first failure of this kind."""
        return max(self.obedience_s, self.patience_s) if again.queued else self.patience_s

    def for_get(self, status: int) -> Wanted:
        """Tell how much of the body of an answer to a GET is wanted."""
        return self.for_post(status) if is_transient(status) else Wanted(self.body_bytes)

    def for_post(self, _status: int) -> Wanted:
        """Tell how much of the body of an answer to a POST is wanted."""
        return Wanted(min(ENOUGH_BYTES, self.body_bytes), start_is_enough=True)


class _Again(Exception):  # noqa: N818  # never leaves this module
    """A GET failed in a way that may pass. `queued`: the budget makes everyone wait for it."""

    def __init__(
        self, reason: str, *, after: timedelta | None = None, queued: bool = False
    ) -> None:
        self.after = after
        self.queued = queued
        super().__init__(reason)


@define(eq=False, kw_only=True)
class Client:
    """An `HttpClient`, made by `Http.client`."""

    address: Address
    auth: ApiKey | None = field(repr=False)
    limits: Limits
    slots: Slots = field(repr=False)
    clock: Clock = field(repr=False)
    holding: Holding = field(repr=False)
    budget_of: Callable[[str], Budget] = field(repr=False)

    requests: int = field(default=0, init=False)
    """How many requests were sent so far, those tried again included."""

    under_way: int = field(default=0, init=False)
    """How many calls have not returned, those that wait for the budget included."""

    _reloading: asyncio.Lock = field(factory=asyncio.Lock, init=False, repr=False)
    _skew: timedelta = field(default=timedelta(0), init=False)
    _date: str = field(default="", init=False, repr=False)
    _writer: Writer = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._writer = Writer(self.address, self.auth)

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Answer:
        """Fetch *path*, again and again while that may help; see `HttpClient.get`."""
        with self._counted():
            return await self._get(partial(self._writer.get, path, params))

    async def _get(self, write: Callable[[], Outgoing]) -> Answer:
        began: dict[bool, float] = {}
        for attempt in count(1):
            try:
                return await self._final(write)
            except _Again as again:
                now = self.clock.monotonic()
                spent_s = now - began.setdefault(again.queued, now)
                await self._pause(again, attempt, spent_s=spent_s)
        raise AssertionError("count() has no end")  # pragma: no cover

    async def post(
        self, path: str, content: bytes, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send *content* once; see `HttpClient.post`."""
        outgoing = self._writer.post(path, content, headers or {})
        try:
            with self._counted():
                wanted = self.limits.for_post
                return await self._exchange(outgoing, wanted, patience_s=POST_PATIENCE_S)
        except Lost as lost:
            raise Retry(f"{outgoing.place}: {lost}") from None

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    def now(self) -> datetime:
        """Tell the time by the vendor's clock, from the ``Date`` of its latest answer."""
        return self.clock.utc() + self._skew

    async def _final(self, write: Callable[[], Outgoing]) -> Answer:
        outgoing = write()
        answer = await self._attempt(outgoing)
        if answer.status == HTTPStatus.UNAUTHORIZED and await self._has_new_key(outgoing.key):
            answer = await self._attempt(write())
        return answer

    async def _attempt(self, outgoing: Outgoing) -> Answer:
        try:
            answer = await self._exchange(
                outgoing,
                self.limits.for_get,
                patience_s=max(self.limits.obedience_s, self.limits.patience_s),
            )
        except Lost as lost:
            raise _Again(f"{outgoing.place}: {lost}") from None
        if is_transient(answer.status):
            raise self._refusal(outgoing, answer)
        if _is_redirect(answer):
            self._stay_here(outgoing, answer.headers["location"])
        return answer

    async def _exchange(
        self, outgoing: Outgoing, wanted: Callable[[int], Wanted], *, patience_s: float
    ) -> Answer:
        budget = self.budget_of(outgoing.key)
        slot = await self.slots.take()
        try:
            await self._admit(outgoing, budget, patience_s)
            began = self.clock.monotonic()
            try:
                with self.holding.answer() as share:
                    reply = await slot.exchange(
                        outgoing.request, wanted, share, deadline_s=self.limits.deadline_s
                    )
            finally:
                budget.leave()
        except (TooLong, UnknownCoding) as error:
            raise self._unfit(outgoing, error) from None
        finally:
            self.slots.give(slot)
        took_ms = (self.clock.monotonic() - began) * 1000
        log.debug("%s %d %.0f ms %d bytes", outgoing.place, reply.status, took_ms, len(reply.body))
        self._learn(reply, budget)
        return Answer(reply.status, reply.headers, reply.body, outgoing.place)

    async def _admit(self, outgoing: Outgoing, budget: Budget, patience_s: float) -> None:
        held_s = budget.held_s
        if held_s > patience_s:
            reason = f"{outgoing.place}: held back for {held_s:.0f} s more, as it asked"
            raise Retry(reason, after=timedelta(seconds=held_s), everywhere=True)
        await budget.enter()
        self.requests += 1

    def _learn(self, reply: Reply, budget: Budget) -> None:
        date = reply.headers.get("date", "")
        if date != self._date:
            self._date = date
            moment = http_date(date)
            self._skew = moment - self.clock.utc() if moment else self._skew
        budget.learn(reply.headers)
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
            budget.refuse(retry_after(reply.headers.get("retry-after"), now=self.now()))
        else:
            budget.accept()

    async def _has_new_key(self, used: str) -> bool:
        if self.auth is None:
            return False
        secret = self.auth.secret
        async with self._reloading:
            if secret.reveal() == used:
                # Reading it may mean running a command.
                await asyncio.to_thread(secret.reload)
        return secret.reveal() != used

    async def _pause(self, again: _Again, attempt: int, *, spent_s: float) -> None:
        left_s = self.limits.patience_for(again) - spent_s
        after_s = again.after.total_seconds() if again.after else 0.0
        if left_s <= 0 or after_s > left_s:
            times = f", {attempt} times in {spent_s:.0f} s" if attempt > 1 else ""
            raise Retry(f"{again}{times}", after=again.after, everywhere=again.queued)
        own_s = 0.0 if again.queued else backoff(attempt, rng=self.clock.rng).total_seconds()
        wait_s = max(own_s, after_s)
        level = logging.WARNING if attempt % WARN_EVERY == WARN_FIRST else logging.DEBUG
        log.log(level, "%s; attempt %d, again in %.1f s", again, attempt, wait_s)
        if not again.queued:
            await self.clock.sleep(min(wait_s, left_s))

    def _refusal(self, outgoing: Outgoing, answer: Answer) -> _Again:
        reason = f"{outgoing.place}: answered {_status_in_words(answer.status)}"
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            held = timedelta(seconds=self.budget_of(outgoing.key).held_s)
            return _Again(reason, after=held, queued=True)
        after = retry_after(answer.headers.get("retry-after"), now=self.now())
        is_down = answer.status == HTTPStatus.SERVICE_UNAVAILABLE
        if is_down and after and after.total_seconds() > self.limits.patience_s:
            self.budget_of(outgoing.key).refuse(after)  # nor does another request ask before
        return _Again(reason, after=after)

    def _stay_here(self, outgoing: Outgoing, location: str) -> None:
        elsewhere = self.address.elsewhere(outgoing.path, location)
        if elsewhere:
            raise Fatal(
                f"{outgoing.place} redirects to {elsewhere}, which is not followed; "
                "correct the base URL if that is where it moved"
            )

    def _unfit(self, outgoing: Outgoing, error: Exception) -> Failure:
        if isinstance(error, UnknownCoding):
            return Retry(f"{outgoing.place}: the answer is compressed in a way nobody asked for")
        return TooLarge(
            f"{outgoing.place}: the answer is longer than {self.limits.body_bytes} bytes; "
            "if it is meant to be, raise max_response_bytes"
        )


def _is_redirect(answer: Answer) -> bool:
    redirects = HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST
    return redirects and "location" in answer.headers


def _status_in_words(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
