"""What holds for every test."""

import signal

from hypothesis import settings

# How long an example takes says something about the machine and nothing about the code.
settings.register_profile("assay", deadline=None)
settings.load_profile("assay")

# A shell starts its background jobs with interrupts ignored, and the processes that the tests
# start and interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
