import os
import signal

import pytest

from clf_train.loop.signals import Stop, stopping_on_signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_a_wish_and_the_handlers_come_back(number, code):
    before = signal.getsignal(number)
    with stopping_on_signals() as stop:
        assert not stop.asked()
        os.kill(os.getpid(), number)
        assert stop.asked()
        assert stop.exit_code() == code
    assert signal.getsignal(number) is before


def test_a_second_interrupt_is_one():
    with stopping_on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_process_that_is_stopped_by_the_others_ends_as_by_sigterm():
    assert Stop().exit_code() == 143
