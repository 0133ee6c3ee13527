"""Who may see the console, and which forms it takes."""

import re
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

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

    async def test_the_way_back_keeps_the_filters(self, browser):
        """A shared URL shows the same page after signing in."""
        status, _, headers = await read(browser, "/console/batches/x?criterion=a%26b&q=c:d")
        assert status == 303
        data = {"key": "key-of-one"}
        _, _, after = await send(browser, URL(headers["Location"], encoded=True), data)
        assert after["Location"] == "/console/batches/x?criterion=a%26b&q=c:d"

    @pytest.mark.parametrize(
        "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
    )
    async def test_no_other_site_signs_somebody_in(self, browser, headers):
        """With a key of its own: what the person then uploads would be its."""
        status, _, found = await send(
            browser, "/console/sign-in", {"key": "key-of-two"}, headers=headers
        )
        assert status == 403
        assert "Set-Cookie" not in found

    async def test_the_cookie_stays_on_https_behind_a_proxy(self, api: RecordsApi, browser):
        """The service hears plain HTTP there; the browser's Origin tells."""
        headers = {"Origin": api.url.replace("http:", "https:")}
        _, _, found = await send(browser, "/console/sign-in", {"key": "key-of-one"},
                                 headers=headers)  # fmt: skip
        assert "; Secure" in found["Set-Cookie"]

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


NONSENSE = (
    "-1", "1e9", "²", "nan", "9" * 30, "9" * 5000, "../../v1/models", "a/b?c#d", "\0", "[]",
    HOSTILE,
)  # fmt: skip


class TestNonsense:
    async def test_in_a_url_it_is_no_fault_of_the_service(self, api: RecordsApi, browser):
        """Unknown pages, rows, versions, batches and filters."""
        await sign_in(browser)
        dataset = await api.dataset({"id": "0", "output": "x"})
        for text in NONSENSE:
            of = quote(text)
            for path in (
                f"compare?rows={of}&base={of}&candidate={of}", f"batches?cursor={of}",
                f"compare/row?base={of}&candidate={of}&base_row={of}&candidate_row={of}",
                f"batches/{quote(of)}/rows/{quote(text, safe='')}", f"labels/x?row={of}",
                f"playground/criterion?place={of}&type={of}", f"tables/{of}.csv",
                f"datasets/{dataset}?version={of}&cursor={of}&split={of}",
                f"playground?dataset={of}&version={of}&id={of}",
            ):  # fmt: skip
                status, page, _ = await read(browser, URL(f"/console/{path}", encoded=True))
                assert status < 500, path
                assert "<script>alert" not in page

    async def test_in_a_form_it_is_no_fault_of_the_service(self, browser):
        """Numbers that are none, and fields that no form has."""
        token = await sign_in(browser)
        for text in NONSENSE:
            for path, form in (
                ("labels", {"results": "x y", "labels": text}),
                ("playground", {"output": "x", f"c{text.strip(chr(0))}.type": "contains"}),
                ("labels/x", {"row": text, "verdict": "skip:"}),
                ("labels/x/undo", {"last": text}),
                ("calibrations", {"batch": text, "alpha": text}),
                ("batches/forecast", {"evaluator": "x", "dataset": "y", "gate0_bound": text}),
            ):
                data = {"csrf_token": token, **form}
                status, page, _ = await send(browser, f"/console/{path}", data)
                assert status < 500, (path, text)
                assert "<script>alert" not in page

    async def test_one_side_of_a_comparison_may_lack_the_row(self, api: RecordsApi, browser):
        """A link with a row that only one batch has shows what there is."""
        await sign_in(browser)
        dataset = await api.dataset({"id": "first", "output": "x"})
        evaluator = await api.evaluator([{"type": "contains", "value": "x"}])
        batch, _ = await api.batch(evaluator=evaluator, dataset=dataset)
        rows = f"base={batch['id']}&candidate={batch['id']}&base_row=0&candidate_row=9"
        status, page, _ = await read(browser, f"/console/compare/row?{rows}")
        assert status == 200
        assert "first" in page


class TestDownloads:
    async def test_every_list_is_a_file(self, api: RecordsApi, browser):
        """As CSV, in which no text is a formula, and as JSON Lines, over all pages."""
        await sign_in(browser)
        names = [await api.evaluator(["It is fine."]) for _ in range(101)]
        await api.dataset({"id": "=1+1", "output": "@SUM(1)", "group": HOSTILE}, description="=1")
        for name in ("evaluators", "datasets", "batches", "draws", "labels", "calibrations",
                     "models", "usage"):  # fmt: skip
            for kind in ("csv", "jsonl"):
                status, text, headers = await read(browser, f"/console/tables/{name}.{kind}")
                assert status == 200, text
                shown = f'attachment; filename="{name}.{kind}"'
                assert headers["Content-Disposition"] == shown
                if name == "evaluators":
                    assert all(f"{one}" in text for one in names)
                if name == "datasets" and kind == "csv":
                    assert ",'=1," in text

    async def test_items_are_a_table_with_all_of_their_fields(self, api: RecordsApi, browser):
        """Also those that only a later item has."""
        await sign_in(browser)
        name = await api.dataset({"id": "=1", "output": "@x"}, {"output": "y", "reference": "late"})
        _, text, _ = await read(browser, f"/console/datasets/{name}/items.csv")
        header, first, second = text.splitlines()
        assert first.startswith("'=1,")
        assert "'@x" in first
        assert second.split(",")[header.split(",").index("reference")] == '"[""late""]"'

    async def test_a_failed_download_is_a_page(self, browser):
        """And no file with a problem in it."""
        await sign_in(browser)
        for path in ("batches/x/results.csv", "datasets/x/items.jsonl", "datasets/x/items.csv"):
            status, page, headers = await read(browser, f"/console/{path}")
            assert status == 404
            assert "Content-Disposition" not in headers
            assert "<h1>" in page

    async def test_an_answer_of_the_api_is_no_page_of_the_console(self, browser):
        """What a caller wrote into it cannot run as one."""
        await sign_in(browser)
        _, _, headers = await read(browser, "/console/api/v1/evaluators")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"


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

    async def test_the_request_as_curl_names_the_key(self, browser):
        """By a variable: the command is shown on a screen."""
        token = await sign_in(browser)
        form = {"csrf_token": token, "output": "x", "c0.type": "contains", "c0.value": "x"}
        _, page, _ = await send(browser, "/console/playground", form)
        assert "Bearer $ASSAY_API_KEY" in page

    async def test_a_problem_of_the_api_is_shown(self, browser):
        """With the field that is wrong."""
        token = await sign_in(browser)
        form = {"csrf_token": token, "output": "x", "c0.type": "regex", "c0.pattern": "("}
        status, page, _ = await send(browser, "/console/playground", form)
        assert status == 422
        assert "/criteria/0" in page
