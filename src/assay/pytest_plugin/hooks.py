"""What pytest calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from assay.pytest_plugin.fixture import AssayFixture, Unscored
from assay.pytest_plugin.options import NO_SERVICE, Options, add_options, read_options
from assay.pytest_plugin.sampling import SampledTest, sampling_of

if TYPE_CHECKING:
    from assay.client.local import LocalService
    from assay.pytest_plugin.judgements import Judgements
    from assay.pytest_plugin.outcome import RunOutcome

MARKER = (
    "assay(samples=1, min_pass_rate=1.0): run the test's body so often; it passes if the share of "
    "samples that pass is at least the rate."
)
HINT = """
  This is neither passed nor failed, and fails the test so that it is seen: to have it otherwise,
  use --assay-unscored=skip or --assay-unscored=xfail."""
SESSION = pytest.StashKey["PluginSession"]()
SAMPLING = pytest.StashKey[SampledTest | None]()
JUDGEMENTS = "assay_judgements"
"""The attribute of a test's report in which judgements come from the processes of xdist."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Read the options."""
    config.addinivalue_line("markers", MARKER)
    session = config.stash[SESSION] = PluginSession(config, read_options(config))
    config.pluginmanager.register(session, "assay-session")


@pytest.fixture(scope="session")
def assay(pytestconfig: pytest.Config) -> Iterator[AssayFixture]:
    """Evaluate outputs: `assay.check(output=…, criteria=…)`, or `assay.evaluate` without a test."""
    session = pytestconfig.stash[SESSION]
    judgements, url, key = session.open()
    from assay.pytest_plugin.judgements import RecordingAssay  # noqa: PLC0415  # only if used

    with RecordingAssay(url, key, judgements) as client:
        allowed = session.options.allow_simulated
        yield AssayFixture(client, session.unscored, allow_simulated=allowed)


class PluginSession:
    """A run of pytest, or one process of a run under xdist."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self.options = options
        self._config = config
        self._worker: dict[str, Any] | None = getattr(config, "workerinput", None)
        self._judgements: Judgements | None = None
        self._service: LocalService | None = None
        self._outcome: RunOutcome | None = None
        self._test = ""
        self._in_samples = False

    def open(self) -> tuple[Judgements, str | None, str | None]:
        """Where verdicts come from, and the service's URL and key; fails the test if nowhere."""
        from assay.pytest_plugin.judgements import Judgements  # noqa: PLC0415  # only if used

        self._judgements = Judgements(self.options)
        self._judgements.test = self._test
        if self.options.replay is not None and self.options.record is None:
            return self._judgements, None, ""
        if self.options.local:
            return self._judgements, self._local_url(), ""
        if self.options.url is None:
            pytest.fail(NO_SERVICE, pytrace=False)
        return self._judgements, self.options.url, None

    def unscored(self, message: str) -> NoReturn:
        """End a test whose verdict is missing."""
        __tracebackhide__ = True
        mode = self.options.unscored
        if self._in_samples or mode == "fail":
            hint = "" if self._in_samples else HINT
            raise Unscored(message + hint)
        (pytest.skip if mode == "skip" else pytest.xfail)(message)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Under xdist, all processes share one private service."""
        if self.options.local and (self.options.replay is None or self.options.record is not None):
            node.workerinput["assay_local_url"] = self._local_url()

    def pytest_unconfigure(self) -> None:
        """End the private service."""
        if self._service is not None:
            self._service.close()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Read the markers, before a test costs anything."""
        for item in items:
            item.stash[SAMPLING] = sampling_of(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Note the test that runs."""
        self._test = item.nodeid
        if self._judgements is not None:
            self._judgements.test = item.nodeid
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Iterator[None]:
        """Run the body of a test for each sample; its fixtures are set up once."""
        sampling = pyfuncitem.stash.get(SAMPLING, None)
        if sampling is None or sampling.samples == 1 or self._in_samples:
            return (yield)
        self._in_samples = True
        called = None
        try:
            for sample in range(sampling.samples):
                self._set_sample(sample)
                try:
                    if sample == 0:
                        called = yield
                    else:
                        pyfuncitem.ihook.pytest_pyfunc_call(pyfuncitem=pyfuncitem)
                except BaseException as error:  # noqa: BLE001  # raised again unless it is counted
                    sampling.count(error)
                else:
                    sampling.count(None)
        finally:
            self._in_samples = False
            self._set_sample(0)
        self._conclude(sampling)
        return called

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        """Put what was judged into the test's report, which xdist sends on."""
        report = yield
        if self._judgements is not None and (judgements := self._judgements.drain()):
            setattr(report, JUDGEMENTS, judgements)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather what was judged, in the process that reports."""
        judgements = getattr(report, JUDGEMENTS, ())
        if self._worker is not None or not judgements:
            return
        if self._outcome is None:
            from assay.pytest_plugin.outcome import RunOutcome  # noqa: PLC0415  # only if used

            self._outcome = RunOutcome(self.options)
        for judgement in judgements:
            self._outcome.add(judgement)

    def pytest_sessionfinish(self) -> None:
        """Write the record, the cache and the report."""
        if self._outcome is not None:
            self._outcome.write()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the table."""
        if self._outcome is not None:
            terminalreporter.section("assay")
            for line in self._outcome.lines():
                terminalreporter.write_line(line)

    def _set_sample(self, sample: int) -> None:
        if self._judgements is not None:
            self._judgements.sample = sample

    def _conclude(self, sampling: SampledTest) -> None:
        if sampling.verdict is False:
            pytest.fail(str(sampling), pytrace=False)
        if sampling.verdict is None:
            if self.options.unscored == "fail":
                pytest.fail(f"{sampling}{HINT}", pytrace=False)
            self.unscored(str(sampling))

    def _local_url(self) -> str:
        """The URL of the private service, which is started if it is not yet."""
        if self._worker is not None:
            return str(self._worker["assay_local_url"])
        if self._service is None:
            from assay.client.local import LocalService  # noqa: PLC0415  # only if used

            self._service = LocalService(self.options.local_options)
        return self._service.url
