"""Whatever is true of SRTP is true with either engine."""

from collections.abc import Iterator

import pytest

from callseal.net.multi_buffer import MultiBuffer


@pytest.fixture(scope="module", params=["OpenSSL", "ipsec-mb"], autouse=True)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Receivers that are given no engine take this one."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "OpenSSL":
            try:
                found = MultiBuffer()
            except OSError:
                pytest.skip("libipsec-mb1 is not installed")
            patch.setattr("callseal.rtp.srtp.OpenSsl", lambda: found)
        yield request.param
