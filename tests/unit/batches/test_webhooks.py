"""Webhooks are signed after the specification and never reach private networks."""

import ipaddress
import json

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver
from standardwebhooks.webhooks import Webhook

from assay.batches.webhooks import WebhookPolicy, Webhooks
from assay.domain.batches import Batch, WebhookClaim
from assay.domain.targets import is_public, target_fault
from assay.providers.images import PublicResolver
from fakes.recorded_events import RecordedEvents

SECRET = "whsec_" + "c2VjcmV0" * 5 + "c2VjcmV0MTIz"[:8]
PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
    "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1",
    "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1", "fec0::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_in_every_form(address):
    """Mapped, translated and tunnelled ones as well."""
    host = f"[{address}]" if ":" in address else address
    assert target_fault(f"https://{host}/hook", allow_private=False) is not None
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "https://", "https://user:pw@example.com/",
        "https://localhost/", "https://printer.local/", "https://db.internal./", "//example.com",
        "https://exa mple.com/", "https://example.com:99999/", "https://127%2e0%2e0%2e1/",
        "https://example.com\\@127.0.0.1/", "https://2130706433/", "https://0x7f.1/",
    ],
)  # fmt: skip
def test_urls_that_are_not_plain_https_to_a_public_name_are_refused(url):
    """Credentials, escapes and addresses that look like names are refused as well."""
    assert target_fault(url, allow_private=False) is not None


def test_public_targets_are_allowed():
    """A name, or an address of the public Internet."""
    assert target_fault("https://example.com:8443/hook?a=b", allow_private=False) is None
    assert target_fault("https://93.184.216.34/", allow_private=False) is None
    assert is_public(ipaddress.ip_address("2606:4700::1111"))


class Names(AbstractResolver):
    """A name server that gives its addresses in turn."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    async def resolve(self, host, port=0, family=0):
        self.asked += 1
        address = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            {"hostname": host, "host": address, "port": port, "family": 2, "proto": 6, "flags": 0}
        ]

    async def close(self):
        """Nothing is open."""


class Queue:
    """The queue's side of webhooks: one claim, and the recorded outcomes."""

    def __init__(self, url, tries=1):
        self.due = WebhookClaim(tries, json.dumps({"url": url, "secret": SECRET}).encode())
        self.recorded = []

    async def claim_webhook(self, batch_id):
        return self.due

    async def record_webhook(self, batch_id, outcome, next_delay_s=None):
        self.recorded.append((outcome, next_delay_s))


class Batches:
    """One batch, which has ended."""

    async def request(self, batch_id):
        return b'{"tenant": "one"}'

    async def find(self, tenant, batch_id):
        return Batch(batch_id, tenant, "completed", 1, 2, finished_ms=1_000, total=3)


class ReceivedWebhooks:
    """The requests that a server received, and the status that it answers."""

    def __init__(self):
        self.got = []
        self.status = 204
        self.port = 0


@pytest.fixture
async def receiver():
    """A server that keeps its requests and answers with a configured status."""
    app = web.Application()
    kept = ReceivedWebhooks()

    async def take(request):
        kept.got.append((dict(request.headers), await request.read()))
        headers = {"Location": "/elsewhere"} if kept.status == 307 else {}
        return web.Response(status=kept.status, headers=headers)

    app.router.add_post("/{any:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    kept.port = site._server.sockets[0].getsockname()[1]
    yield kept
    await runner.cleanup()


def delivering(queue, *, allow_private=True, resolver=None):
    policy = WebhookPolicy(allow_private=allow_private, tries_max=3)
    return Webhooks(queue, Batches(), RecordedEvents(), policy, resolver)


async def test_a_message_is_verified_by_the_specifications_own_library(receiver):
    """Its id is the same at every attempt, and its content says how the batch ended."""
    queue = Queue(f"http://127.0.0.1:{receiver.port}/hook")
    for _ in range(2):
        await delivering(queue).deliver("batch_1")
    ids = {headers["webhook-id"] for headers, _ in receiver.got}
    assert ids == {"msg_batch_1_completed"}
    headers, body = receiver.got[0]
    event = Webhook(SECRET).verify(body, headers)
    assert event["type"] == "batch.completed"
    assert event["data"]["counts"]["total"] == 3
    assert queue.recorded == [("delivered", None)] * 2


@pytest.mark.parametrize(("status", "calls"), [(500, 1), (307, 1), (410, 1)])
async def test_a_failed_delivery_is_retried_later(receiver, status, calls):
    """Redirects are not followed: they would lead past the check of the target."""
    receiver.status = status
    queue = Queue(f"http://127.0.0.1:{receiver.port}/hook")
    await delivering(queue).deliver("batch_1")
    assert len(receiver.got) == calls
    assert queue.recorded[0][1] > 0


async def test_attempts_are_bounded(receiver):
    """After the last one no further attempt is due."""
    receiver.status = 500
    queue = Queue(f"http://127.0.0.1:{receiver.port}/hook", tries=3)
    await delivering(queue).deliver("batch_1")
    assert queue.recorded == [("given_up", None)]


async def test_a_name_that_resolves_to_a_private_address_is_refused(receiver):
    """The check covers the addresses that the connection uses, without a second look-up."""
    names = Names("127.0.0.1", "93.184.216.34")
    queue = Queue(f"https://example.com:{receiver.port}/hook")
    webhooks = delivering(queue, allow_private=False, resolver=PublicResolver(names))
    await webhooks.deliver("batch_1")
    assert receiver.got == []
    assert names.asked == 1
    assert webhooks._events.events[0].outcome == "refused"


async def test_numbers_that_look_like_names_are_refused(receiver):
    """Every resolver reads 2130706433 as 127.0.0.1."""
    queue = Queue(f"https://2130706433:{receiver.port}/hook")
    webhooks = delivering(queue, allow_private=False)
    await webhooks.deliver("batch_1")
    assert receiver.got == []
    assert webhooks._events.events[0].outcome == "refused"
