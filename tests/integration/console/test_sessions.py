"""Who may see the console, and which forms it takes."""

import re

import aiohttp
import pytest

from fakes.records_api import RecordsApi

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOME = "/console/"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"


async def read(browser: aiohttp.ClientSession, path: str, **options) -> tuple[int, str, dict]:
    async with browser.get(path, allow_redirects=False, **options) as response:
        return response.status, await response.text(), dict(response.headers)


async def send(browser: aiohttp.ClientSession, path: str, data=None, **options):
    sent = browser.post(path, data=data, allow_redirects=False, **options)
    async with sent as response:
        return response.status, await response.text(), dict(response.headers)


async def sign_in(browser: aiohttp.ClientSession, tenant: str = "one") -> str:
    """The token that forms carry."""
    status, _, headers = await send(browser, "/console/sign-in", {"key": f"key-of-{tenant}"})
    assert (status, headers["Location"]) == (303, HOME)
    _, page, _ = await read(browser, HOME)
    (token,) = re.findall(r'data-csrf="([^"]+)"', page)
    return token


class TestSignIn:
    async def test_a_stranger_signs_in_first(self, browser):
        """Each page leads there, and back to itself afterwards; what a script asked for stays."""
        for path, target in ((HOME, ""), ("/console/models", "?next=models")):
            status, _, headers = await read(browser, path)
            assert (status, headers["Location"]) == (303, f"/console/sign-in{target}")
        async with browser.get(HOME, headers={"HX-Request": "true"}) as response:
            assert response.status == 401
            assert "HX-Redirect" not in response.headers

    async def test_the_cookie_is_short_lived_and_out_of_reach(self, browser):
        """HttpOnly, SameSite=Lax, for the console alone, without the key itself."""
        status, _, headers = await send(browser, "/console/sign-in", {"key": "key-of-one"})
        assert status == 303
        cookie = headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Max-Age=28800" in cookie
        assert "Path=/console" in cookie
        assert "key-of-one" not in cookie

    @pytest.mark.parametrize("key", ["", "wrong", "x" * 10_000, "key-of-one\0", "💥"])
    async def test_an_unknown_key_opens_nothing(self, browser, key):
        """The form says so, and keeps no cookie."""
        status, page, headers = await send(browser, "/console/sign-in", {"key": key})
        assert status == 401
        assert "The API key is not known." in page
        assert "Set-Cookie" not in headers

    @pytest.mark.parametrize(
        "target", ["//evil.example", "https://evil.example", "/\\evil.example"]
    )
    async def test_no_link_leads_elsewhere(self, browser, target):
        """After signing in, one stays on the console."""
        path = f"/console/sign-in?next={target}"
        _, _, headers = await send(browser, path, {"key": "key-of-one"})
        assert headers["Location"] == HOME

    async def test_a_forged_cookie_opens_nothing(self, browser):
        """Neither a changed one nor one of another service's making."""
        for cookie in ("x", "ImEi.aa.bb", "", '"open"'):
            headers = {"Cookie": f"assay_session={cookie}"}
            status, _, found = await read(browser, HOME, headers=headers)
            assert (status, found["Location"]) == (303, "/console/sign-in")

    async def test_signing_out_ends_the_session(self, browser):
        """The next page asks to sign in."""
        token = await sign_in(browser)
        status, _, _ = await send(browser, "/console/sign-out", {"csrf_token": token})
        assert status == 303
        assert (await read(browser, HOME))[0] == 303

    async def test_tenants_see_their_own(self, api: RecordsApi, browser):
        """An evaluator of another tenant is not there."""
        name = await api.evaluator([{"type": "contains", "value": "x"}])
        await sign_in(browser, "two")
        status, page, _ = await read(browser, f"/console/api/v1/evaluators/{name}")
        assert status == 404
        assert name not in page


class TestForms:
    async def test_a_form_needs_the_token_of_its_session(self, api: RecordsApi, browser):
        """None, a wrong one and that of another session are refused, and nothing happens."""
        token = await sign_in(browser)
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(api.url, cookie_jar=jar) as other:
            of_other = await sign_in(other, "two")
        for given in (None, "", "x", of_other):
            data = {} if given is None else {"csrf_token": given}
            status, page, _ = await send(browser, "/console/sign-out", data)
            assert status == 403
            assert "The form did not come from this page" in page
        assert (await read(browser, HOME))[0] == 200
        assert (await send(browser, "/console/sign-out", {"csrf_token": token}))[0] == 303

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ],
    )
    async def test_another_origin_is_refused_with_the_right_token(self, browser, headers):
        """The browser says where a request comes from."""
        token = await sign_in(browser)
        data = {"csrf_token": token}
        assert (await send(browser, "/console/sign-out", data, headers=headers))[0] == 403

    async def test_scripts_send_the_token_as_a_header(self, api: RecordsApi, browser):
        """A forwarded request without it changes nothing; with it, it reaches the API."""
        token = await sign_in(browser)
        path, document = "/console/api/v1/datasets", {"name": api.name("dataset")}
        assert (await send(browser, path, json=document))[0] == 403
        assert (await send(browser, path, {"csrf_token": token}))[0] == 403
        status, _, _ = await send(browser, path, json=document, headers={"X-CSRF-Token": token})
        assert status == 201

    async def test_only_the_api_is_forwarded_to(self, browser):
        """Not its documentation, nor any other path."""
        await sign_in(browser)
        for path in ("docs", "openapi.json", "../docs", "console/", "", "v1x"):
            status, _, _ = await read(browser, f"/console/api/{path}")
            assert status in (404, 307), path


class TestPages:
    async def test_headers_of_a_page(self, browser):
        """No script, style or frame but its own, and nothing is kept in caches."""
        await sign_in(browser)
        _, page, headers = await read(browser, HOME)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "<script>" not in page
        assert "style=" not in page
        assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)

    async def test_files_are_kept_for_long_and_change_their_url(self, browser):
        """The URL has a hash of the content."""
        await sign_in(browser)
        _, page, _ = await read(browser, HOME)
        urls = re.findall(r'(?:src|href)="(/console/files/[^"]+)"', page)
        assert len(urls) >= 3
        for url in urls:
            assert "?v=" in url
            status, _, headers = await read(browser, url)
            assert status == 200
            assert "immutable" in headers["Cache-Control"]

    async def test_a_hostile_text_is_only_text(self, api: RecordsApi, browser):
        """In a verdict of the playground, with its criteria and the request as curl."""
        token = await sign_in(browser)
        form = {
            "csrf_token": token, "input": HOSTILE, "output": HOSTILE, "c0.type": "contains",
            "c0.value": HOSTILE + "!", "c0.name": HOSTILE, "action": "judge",
        }  # fmt: skip
        status, page, _ = await send(browser, "/console/playground", form)
        assert status == 200
        assert "<script>" not in page
        assert "<img" not in page
        assert "&lt;script&gt;" in page
        assert "{{7*7}}" in page

    async def test_a_problem_of_the_api_is_shown(self, browser):
        """With the field that is wrong."""
        token = await sign_in(browser)
        form = {"csrf_token": token, "output": "x", "c0.type": "regex", "c0.pattern": "("}
        status, page, _ = await send(browser, "/console/playground", form)
        assert status == 422
        assert "/criteria/0" in page
