"""Under which names the server answers, to which sites, and who is said to ask."""

import httpx
import pytest
from starlette.datastructures import Headers

from demo.gateway import Names
from demo.gateway.origins import client_address, trusted
from demo.gateway.said import OTHER_NAME, OTHER_ORIGIN, Refusal


def refused(check, **headers: str) -> bool:
    try:
        check(Headers({name.replace("_", "-"): value for name, value in headers.items()}))
    except Refusal as refusal:
        return refusal.status == 403
    return False


@pytest.mark.parametrize(
    ("hosts", "listening", "host", "answers"),
    [
        ("", "127.0.0.1", "localhost:7860", True),
        ("", "127.0.0.1", "127.0.0.1:7860", True),
        ("", "127.0.0.1", "[::1]:7860", True),
        ("", "127.0.0.1", "evil.example", False),
        ("", "127.0.0.1", "", False),
        ("", "localhost", "evil.example:7860", False),
        ("", "0.0.0.0", "anything.example", True),
        ("a.example, B.example", "127.0.0.1", "b.example:7860", True),
        ("a.example", "0.0.0.0", "b.example", False),
        ("a.example", "0.0.0.0", "localhost", True),
        ("a.example", "0.0.0.0", "space.hf.space", True),
        ("a.example", "0.0.0.0", "a.example.evil.example", False),
        ("", "0.0.0.0", "evil.example\\@a.example", False),
        ("", "127.0.0.1", "evil@127.0.0.1", False),
        ("", "127.0.0.1", "127.0.0.1:abc", False),
        ("", "127.0.0.1", "127.0.0.1/../x", False),
    ],
)
def test_names(hosts, listening, host, answers) -> None:
    names = Names.of(hosts, space="space.hf.space", listening=listening)
    assert refused(names.check_host, host=host) is not answers


@pytest.mark.parametrize(
    ("origin", "host", "taken"),
    [
        ("https://bavos.example", "bavos.example", True),
        ("https://bavos.example:443", "bavos.example", True),
        ("http://localhost:7860", "localhost:7860", True),
        ("http://localhost:3000", "localhost:7860", False),
        ("https://evil.example", "bavos.example", False),
        ("https://listed.example", "bavos.example", True),
        ("null", "bavos.example", False),
        ("", "bavos.example", False),
        ("https://bavos.example.evil.example", "bavos.example", False),
        ("https://[", "bavos.example", False),
        ("null", "", False),
        ("ftp://bavos.example", "bavos.example", False),
        ("https://evil@bavos.example", "bavos.example", False),
    ],
)
def test_origins(origin, host, taken) -> None:
    names = Names.of("listed.example", space="", listening="0.0.0.0")
    assert refused(names.check_origin, origin=origin, host=host) is not taken


def test_a_script_and_a_proxy_with_another_name_are_taken() -> None:
    names = Names()
    assert not refused(names.check_origin, host="bavos.example")
    other = {"origin": "https://bavos.example", "x_forwarded_host": "bavos.example"}
    assert not refused(names.check_origin, host="10.0.0.7:7860", **other)


def test_what_only_a_proxy_may_say_is_checked_or_dropped() -> None:
    names = Names.of("a.example", space="", listening="0.0.0.0")
    assert refused(names.check_host, host="a.example", x_forwarded_host="evil.example")
    said = [(b"host", b"a"), (b"x-forwarded-host", b"b"), (b"x-gradio-server", b"https://c")]
    assert trusted(said, 0) == said[:1]
    assert trusted(said, 1) == said[:2]


def test_the_running_server_refuses_both_in_a_sentence(server: str) -> None:
    answer = httpx.get(f"{server}config", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.text) == (403, OTHER_NAME)
    for origin in ("https://evil.example", "null"):
        for path in ("upload", "cancel", "bavos/x/html"):
            answer = httpx.post(f"{server}gradio_api/{path}", headers={"Origin": origin})
            assert (answer.status_code, answer.text) == (403, OTHER_ORIGIN)


@pytest.mark.parametrize(
    ("proxies", "said", "address"),
    [
        (0, ["1.2.3.4"], "10.0.0.1"),
        (1, [], "10.0.0.1"),
        (1, ["1.2.3.4"], "1.2.3.4"),
        (1, ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        (2, ["6.6.6.6, 1.2.3.4", "10.0.0.9"], "1.2.3.4"),
        (2, ["1.2.3.4"], "10.0.0.1"),
        (1, ["1.2.3.4:5678"], "1.2.3.4"),
        (1, ["[2001:db8:1:2:3::4]:5678"], "2001:db8:1:2::/64"),
        (1, ["2001:db8:1:2:5::6"], "2001:db8:1:2::/64"),
        (1, ["::ffff:1.2.3.4"], "1.2.3.4"),
        (1, ["unknown"], "10.0.0.1"),
    ],
)
def test_who_asks_is_what_the_last_proxies_saw(proxies, said, address) -> None:
    headers = Headers(raw=[(b"x-forwarded-for", line.encode()) for line in said])
    assert client_address("10.0.0.1", headers, proxies) == address
