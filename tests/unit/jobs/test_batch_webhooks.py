"""Webhooks are signed after the specification, and never go where only we can reach."""

import ipaddress
import json

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver
from standardwebhooks.webhooks import Webhook

from assay.batches.webhooks import PublicResolver, WebhookPolicy, Webhooks
from assay.domain.batches import Batch, WebhookClaim
from assay.domain.targets import is_public, target_fault
from fakes.recorded_events import RecordedEvents

SECRET = "whsec_" + "c2VjcmV0" * 5 + "c2VjcmV0MTIz"[:8]
PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
    "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1",
    "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1", "fec0::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_in_every_dress(address):
    """By their text, and by what they are: mapped, translated and tunnelled ones as well."""
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
def test_urls_that_nobody_should_send_are_refused(url):
    """Only https, a public name, and nothing hidden in it."""
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
    """The queue's side of webhooks: one turn, and what was noted."""

    def __init__(self, url, tries=1):
        self.turn = WebhookClaim(tries, json.dumps({"url": url, "secret": SECRET}).encode())
        self.told = []

    async def claim_webhook(self, batch_id):
        return self.turn

    async def record_webhook(self, batch_id, outcome, next_delay_s=None):
        self.told.append((outcome, next_delay_s))


class Batches:
    """One batch, which has ended."""

    async def request(self, batch_id):
        return b'{"tenant": "one"}'

    async def find(self, tenant, batch_id):
        return Batch(batch_id, tenant, "completed", 1, 2, finished_ms=1_000, total=3)


class ResponseReader:
    """What a server was told, and the status that it answers."""

    def __init__(self):
        self.got = []
        self.status = 204
        self.port = 0


@pytest.fixture
async def receiver():
    """A server that keeps what it is told, and answers as it is told to."""
    app = web.Application()
    kept = ResponseReader()

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


def telling(queue, *, allow_private=True, resolver=None):
    policy = WebhookPolicy(allow_private=allow_private, tries_max=3)
    return Webhooks(queue, Batches(), RecordedEvents(), policy, resolver)


async def test_a_message_is_verified_by_the_specifications_own_library(receiver):
    """Its id is the same at every try, and its content says how the batch ended."""
    queue = Queue(f"http://127.0.0.1:{receiver.port}/hook")
    for _ in range(2):
        await telling(queue).tell("batch_1")
    ids = {headers["webhook-id"] for headers, _ in receiver.got}
    assert ids == {"msg_batch_1_completed"}
    headers, body = receiver.got[0]
    event = Webhook(SECRET).verify(body, headers)
    assert event["type"] == "batch.completed"
    assert event["data"]["counts"]["total"] == 3
    assert queue.told == [("delivered", None)] * 2


@pytest.mark.parametrize(("status", "calls"), [(500, 1), (307, 1), (410, 1)])
async def test_what_is_not_a_success_is_tried_again_later(receiver, status, calls):
    """Redirects are not followed: they would lead past the check of the target."""
    receiver.status = status
    queue = Queue(f"http://127.0.0.1:{receiver.port}/hook")
    await telling(queue).tell("batch_1")
    assert len(receiver.got) == calls
    assert queue.told[0][1] > 0


async def test_tries_are_bounded(receiver):
    """After the last one nothing is due any more."""
    receiver.status = 500
    queue = Queue(f"http://127.0.0.1:{receiver.port}/hook", tries=3)
    await telling(queue).tell("batch_1")
    assert queue.told == [("given_up", None)]


async def test_a_name_that_leads_home_is_refused(receiver):
    """The check is on the very addresses that would be called, so no second look-up slips in."""
    names = Names("127.0.0.1", "93.184.216.34")
    queue = Queue(f"https://example.com:{receiver.port}/hook")
    webhooks = telling(queue, allow_private=False, resolver=PublicResolver(names))
    await webhooks.tell("batch_1")
    assert receiver.got == []
    assert names.asked == 1
    assert webhooks._events.events[0].outcome == "refused"


async def test_numbers_that_look_like_names_are_refused(receiver):
    """2130706433 is 127.0.0.1 to every resolver."""
    queue = Queue(f"https://2130706433:{receiver.port}/hook")
    webhooks = telling(queue, allow_private=False)
    await webhooks.tell("batch_1")
    assert receiver.got == []
    assert webhooks._events.events[0].outcome == "refused"
