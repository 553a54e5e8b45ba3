"""The webhook sink: signed CloudEvents by POST, tried again for days."""

from collections.abc import Iterable

from levada import Sink, hookimpl


@hookimpl
def event_sinks() -> Iterable[type[Sink]]:
    """Offer `WebhookSink`."""
    from levada_webhook.sink import WebhookSink

    return [WebhookSink]
