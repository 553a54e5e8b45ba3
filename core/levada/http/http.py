"""The HTTP of one pipeline or command: its clients, what they share, and their end."""

import logging
import ssl
from collections.abc import Callable
from datetime import timedelta
from functools import cache, partial
from typing import Any

from attrs import evolve

from levada.errors import ConfigError
from levada.header import check_header
from levada.holding import Holding
from levada.http.address import Address
from levada.http.budget import Budget
from levada.http.client import Client, Limits
from levada.http.clock import Clock
from levada.http.network import check, refuse_private
from levada.http.slots import Slots
from levada.secret import FINDABLE, ApiKey
from levada.setup import Network

log: logging.Logger = logging.getLogger("levada.http")


class Http:
    """Makes clients and closes them; one for each pipeline or command.

    Args:
        request_timeout: The whole of one exchange, from name resolution to last byte.
        max_response_bytes: Longest body to take, decompressed.
        slots: Connections of one client, unless it asks for another number.
        network: ``public-only`` refuses URLs, and names at connect time, that lead elsewhere.
        give_up: How long a GET goes on after its first failure; None: for ever.
        clock: Time and chance, for tests.
    """

    def __init__(
        self,
        *,
        request_timeout: timedelta,
        max_response_bytes: int,
        slots: int = 16,
        network: Network = "any",
        give_up: timedelta | None = timedelta(minutes=5),
        clock: Clock | None = None,
    ) -> None:
        self._limits = Limits(
            deadline_s=request_timeout.total_seconds(),
            body_bytes=max_response_bytes,
            patience_s=float("inf") if give_up is None else give_up.total_seconds(),
        )
        self._holding = Holding(max_response_bytes)
        self._slots = slots
        self._public_only = network == "public-only"
        self._clock = clock or Clock()
        self._clients: dict[tuple[Any, ...], Client] = {}
        self._budgets: dict[tuple[str, str, str], Budget] = {}
        self._tls = cache(_tls)  # 47 ms each

    def client(
        self,
        base_url: str,
        *,
        auth: ApiKey | None = None,
        share: float = 0.5,
        limit: int | None = None,
        timeout_s: float | None = None,
        ca_file: str | None = None,
        client_cert: str | None = None,
        slots: int | None = None,
        owner: str = "",
    ) -> Client:
        """Return the client for these arguments; the same one each time.

        Args:
            base_url: Origin, and perhaps a path that every request begins with.
            auth: The credential, sent with every request and to no other origin.
            share: Part of the vendor's request allowance to use before pacing, 0 to 1.
            limit: Requests a minute where the vendor tells no allowance; None: free.
            timeout_s: Replaces `request_timeout`.
            ca_file: Certificates to trust instead of the system's, PEM.
            client_cert: Our own certificate and its key in one file, PEM.
            slots: How many requests may be under way at once.
            owner: Whose client it is, where it shares with nobody; "" with all who have no owner.

        Raises:
            ConfigError: the URL, the credential, one of the files or a number cannot be used.
        """
        who = (auth.header, id(auth.secret)) if auth else None
        key = (base_url, who, share, limit, timeout_s, ca_file, client_cert, slots, owner)
        if key not in self._clients:
            _check(share, limit)
            if auth:
                _check_key(auth)
            address = Address.parse(base_url)
            if self._public_only:
                check(address)
            self._clients[key] = Client(
                address=address,
                auth=auth,
                limits=evolve(self._limits, deadline_s=timeout_s or self._limits.deadline_s),
                slots=Slots(
                    slots or self._slots,
                    tls=self._trust(address, ca_file, client_cert),
                    inspect=refuse_private if self._public_only else None,
                ),
                clock=self._clock,
                holding=self._holding,
                budget_of=partial(self._budget, (address.origin, owner), share, limit),
            )
            _warn_about(address, auth)
        return self._clients[key]

    async def aclose(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.slots.aclose()

    def _budget(self, place: tuple[str, str], share: float, limit: int | None, key: str) -> Budget:
        budget = self._budgets.get((*place, key))
        if budget is None:
            budget = Budget(share=share, limit=limit, clock=self._clock)
            self._budgets[*place, key] = budget
        budget.tighten(share=share, limit=limit)
        return budget

    def _trust(
        self, address: Address, ca_file: str | None, client_cert: str | None
    ) -> Callable[[], ssl.SSLContext] | None:
        if not address.secure:
            return None
        if ca_file or client_cert:
            self._tls(ca_file, client_cert)  # what is wrong with them is told now
        return partial(self._tls, ca_file, client_cert)


def _check(share: float, limit: int | None) -> None:
    if not 0 < share <= 1:
        raise ConfigError("rate_share must be above 0 and at most 1")
    if limit is not None and limit < 1:
        raise ConfigError("rate_limit must be at least 1")


def _check_key(auth: ApiKey) -> None:
    check_header(auth.header, auth.secret.reveal(), source=f" (from {auth.secret.origin})")


def _tls(ca_file: str | None, client_cert: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigError(f"ca_file {ca_file} cannot be used: {_why(error)}") from None
    context.set_alpn_protocols(["http/1.1"])
    if client_cert:
        try:
            # Without a password of our own OpenSSL would ask on the terminal.
            context.load_cert_chain(client_cert, password=b"")
        except OSError as error:
            raise ConfigError(f"client_cert {client_cert} cannot be used: {_why(error)}") from None
    return context


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "it holds no PEM certificate, or an encrypted or missing key"
    return error.strerror or type(error).__name__


def _warn_about(address: Address, auth: ApiKey | None) -> None:
    if auth is None or address.loopback:
        return
    if not address.secure:
        log.warning("%s: the %s header travels unencrypted; use https", address.origin, auth.header)
    if 0 < len(auth.secret.reveal()) < FINDABLE:
        log.warning(
            "%s: the key from %s has fewer than %d characters: where a log line shows it, "
            "it cannot be told from a word",
            address.origin,
            auth.secret.origin,
            FINDABLE,
        )
