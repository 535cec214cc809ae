"""The model hub, played by a server on this machine: good, broken, silent, slow; asked once."""

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save

from bavos_core import BackboneUnavailable, InputError, Settings, analyse, backbones
from bavos_core.backbones import hub
from bavos_core.backbones.timm_vit import create

from .helpers import check_message

NAME = "test_vit.r160_in1k"  # the smallest ViT of timm, 0.3 million parameters
PAPER = "vit_small_patch8_224.dino"
LABELS = "tuned on saliency labels"
REVISION = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = save({"x": torch.arange(5.0)})


def path_of(file: str, name: str = NAME) -> str:
    return f"/timm/{name}/resolve/main/{file}"


class FakeHub(ThreadingHTTPServer):
    """Has these files, remembers what was asked for, and can hold its answers back."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.status = 404  # of what it does not have
        self.way: Callable[[Handler, bytes], None] = Handler.answer
        self.seen: list[str] = []
        self.tokens: list[str | None] = []
        self.released = threading.Event()  # ends what it holds back

    def add(self, file: str, data: bytes = b"{}", name: str = NAME) -> None:
        self.files[path_of(file, name)] = data

    def asked(self, file: str = "config.json") -> int:
        return sum(path.endswith(file) for path in self.seen)


class Handler(BaseHTTPRequestHandler):
    server: FakeHub

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        self.server.tokens.append(self.headers["Authorization"])
        body = self.server.files.get(self.path)
        if self.path in self.server.redirects:
            self.send_response(307)
            self.send_header("Location", self.server.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif body is None:
            self.send_error(self.server.status)
        else:
            self.server.way(self, body)

    do_HEAD = do_GET

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"one"')
        self.send_header("X-Repo-Commit", REVISION)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def say_nothing(self, _: bytes) -> None:
        self.server.released.wait(60)

    def trickle_a_body(self, _: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "10000")
        self.end_headers()
        self.trickle(b"{" * 10000)

    def trickle_a_head(self, _: bytes) -> None:
        self.trickle(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10000)

    def trickle(self, data: bytes) -> None:
        for byte in data:
            if self.server.released.wait(0.02):
                return
            try:
                self.wfile.write(bytes([byte]))
            except OSError:  # nobody listens any more
                return

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture(autouse=True)
def fake() -> Iterator[FakeHub]:
    with FakeHub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()
    end_questions(server)


@pytest.fixture(autouse=True)
def cache(fake, tmp_path, monkeypatch) -> Path:
    """The library asks that hub, nothing is cached, and nothing has been asked."""
    address = f"http://127.0.0.1:{fake.server_port}"
    use_endpoint(address, monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_questions", {})
    monkeypatch.setattr(hub, "_fetching", {})
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,hub.invalid")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return tmp_path / "cache"


def end_questions(fake: FakeHub) -> None:
    """Let the threads end that wait for an answer."""
    fake.released.set()
    for thread in threading.enumerate():
        if thread.name.endswith(("(_ask)", "(fetch)")):  # named after what they run
            thread.join(10)
            assert not thread.is_alive()


def use_endpoint(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def impatient(monkeypatch) -> None:
    """What matters is that it gives up, not when."""
    monkeypatch.setattr(hub, "ANSWER_SECONDS", 0.3)


class Clock:
    """The time of the module alone, which can be set ahead."""

    ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(hub, "time", clock)
    return clock


@pytest.fixture
def silent_resolver(fake, monkeypatch) -> Iterator[list[str]]:
    """A name server that never answers for the hub; what it was asked for."""
    use_endpoint("http://hub.invalid", monkeypatch)
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def block(host: str, *rest: object, **more: object) -> object:
        if host not in ("hub.invalid", b"hub.invalid"):
            return resolve(host, *rest, **more)
        asked.append(str(host))
        fake.released.wait(60)
        raise socket.gaierror("released")

    monkeypatch.setattr(socket, "getaddrinfo", block)
    yield asked
    end_questions(fake)  # before the resolver is put back


def seconds_of(call: Callable[[], object]) -> float:
    start = time.monotonic()
    call()
    return time.monotonic() - start


def keep(cache: Path, name: str, file: str, data: bytes) -> Path:
    """A file in the cache, as the hub's library lays it out."""
    folder = cache / f"models--timm--{name}"
    path = folder / "snapshots" / REVISION / file
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(REVISION)
    return path


# ---- whether it answers -------------------------------------------------------------------------


def test_a_hub_that_answers_has_the_weights(fake) -> None:
    fake.add("config.json")
    assert hub.has_weights(NAME) is True
    assert fake.seen == [path_of("config.json")]


def test_a_name_without_a_tag_is_asked_for_under_its_usual_one(fake) -> None:
    fake.add("config.json")
    assert hub.has_weights("test_vit")


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_an_error_is_a_no(fake, status) -> None:
    fake.status = status
    assert hub.has_weights(NAME) is False
    assert fake.asked() == 1


def test_a_repository_that_has_moved_is_found(fake) -> None:
    fake.redirects[path_of("config.json")] = "/new/config.json"
    fake.files["/new/config.json"] = b"{}"
    assert hub.has_weights(NAME) is True


def test_a_redirect_to_itself_is_a_no(fake) -> None:
    fake.redirects[path_of("config.json")] = path_of("config.json")
    assert hub.has_weights(NAME) is False


def test_a_hub_that_refuses_the_connection_is_a_no_at_once(monkeypatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        use_endpoint(f"http://127.0.0.1:{unused.getsockname()[1]}", monkeypatch)
        assert seconds_of(lambda: hub.has_weights(NAME)) < 2
        assert hub.has_weights(NAME) is False


@pytest.mark.parametrize(
    "address", ["http://[::1", "http://127.0.0.1:99999", "ftp://127.0.0.1", ""]
)
def test_an_address_that_is_none_is_a_no(address, monkeypatch) -> None:
    use_endpoint(address, monkeypatch)
    assert hub.has_weights(NAME) is False


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "no-such-kind://127.0.0.1:9"])
def test_a_proxy_that_cannot_be_used_is_a_no(proxy, monkeypatch) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.delenv("NO_PROXY")
    assert hub.has_weights(NAME) is False  # and no thread ends in a traceback


def test_the_token_of_the_user_is_sent_along(fake, monkeypatch) -> None:
    fake.add("config.json")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert hub.has_weights(NAME)
    assert fake.tokens == ["Bearer hf_secret"]


def test_a_token_that_no_header_can_hold_is_a_no(fake, monkeypatch) -> None:
    fake.add("config.json")
    monkeypatch.setenv("HF_TOKEN", "hf_ключ")
    assert hub.has_weights(NAME) is False


def test_a_hub_that_answers_nothing_else_has_the_weights(fake, monkeypatch) -> None:
    # Some versions of its library ask the hub for a list before they make headers, once a process.
    if "huggingface_hub.utils._detect_agent" in sys.modules:
        agents = sys.modules["huggingface_hub.utils._detect_agent"]
        monkeypatch.setattr(agents, "_registry", None, raising=False)
        monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", "/nowhere", raising=False)
    fake.add("config.json")
    fake.files["/api/agent-harnesses"] = b""
    fake.way = lambda handler, body: (handler.answer if body else handler.say_nothing)(body)
    assert hub.has_weights(NAME) is True
    assert fake.seen == [path_of("config.json")]


@pytest.mark.parametrize(
    "name", ["no-such-net", "vit_small_patch8_224.nope", "", "vit_tiny_patch8_9"]
)
def test_what_timm_does_not_know_is_a_no_without_a_request(fake, name) -> None:
    assert hub.has_weights(name) is False
    assert hub.cached_weights(name) is None
    assert hub.fetch(name) is None
    assert fake.seen == []


def test_an_unknown_tag_is_refused_like_an_unknown_name() -> None:
    with pytest.raises(InputError) as caught:
        backbones.load("vit_small_patch8_224.nope")
    assert not isinstance(caught.value, BackboneUnavailable)
    assert "Unknown backbone 'vit_small_patch8_224.nope'" in str(caught.value)


def test_offline_nothing_is_asked(fake, monkeypatch) -> None:
    fake.add("config.json")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.has_weights(NAME) is False
    assert hub.fetch(NAME) is None
    assert backbones.resolve("auto")[0] == "bundled-vits14"
    assert fake.seen == []


# ---- when it does not ---------------------------------------------------------------------------


def test_a_hub_that_accepts_and_says_nothing_is_a_no_after_three_seconds(fake) -> None:
    fake.add("config.json")
    fake.way = Handler.say_nothing
    assert 2.5 < seconds_of(lambda: hub.has_weights(NAME)) < 6
    assert not fake.released.is_set()  # it was not waited for
    assert seconds_of(lambda: hub.has_weights(NAME)) < 1
    assert hub.has_weights(NAME) is False
    assert fake.asked() == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("way", [Handler.trickle_a_body, Handler.trickle_a_head])
def test_a_hub_that_trickles_is_a_no(fake, way) -> None:
    fake.add("config.json")
    fake.way = way
    assert seconds_of(lambda: hub.has_weights(NAME)) < 3
    assert hub.has_weights(NAME) is False
    assert not fake.released.is_set()


@pytest.mark.usefixtures("impatient")
def test_an_answer_that_comes_too_late_is_a_no_that_stays(fake) -> None:
    fake.add("config.json")
    fake.way = lambda handler, body: (handler.say_nothing(body), handler.answer(body))
    assert hub.has_weights(NAME) is False
    fake.released.set()
    hub._questions[f"timm/{NAME}"].answered.wait(10)
    assert hub.has_weights(NAME) is False


@pytest.mark.usefixtures("impatient")
def test_a_name_server_that_never_answers_is_a_no_and_blocks_one_thread(
    silent_resolver, clock
) -> None:
    threads = threading.active_count()
    assert seconds_of(lambda: hub.has_weights(NAME)) < 3
    for _ in range(20):
        assert hub.has_weights(NAME) is False
        clock.ahead += 2 * hub.KEEP_SECONDS
    assert len(silent_resolver) == 1
    assert threading.active_count() <= threads + 1


def test_a_name_server_that_never_answers_is_waited_for_three_seconds_in_all(
    silent_resolver,
) -> None:
    assert seconds_of(lambda: backbones.resolve("auto")) < 6
    assert seconds_of(lambda: backbones.load("auto")) < 3  # of which no more for the hub
    assert len(silent_resolver) == 1


# ---- asked once ---------------------------------------------------------------------------------


@pytest.mark.parametrize("yes", [True, False])
def test_the_answer_is_kept_for_a_minute_and_then_asked_for_again(fake, clock, yes) -> None:
    if yes:
        fake.add("config.json")
    assert [hub.has_weights(NAME) for _ in range(5)] == [yes] * 5
    clock.ahead = hub.KEEP_SECONDS - 1
    assert hub.has_weights(NAME) is yes
    assert fake.asked() == 1
    fake.files = {} if yes else {path_of("config.json"): b"{}"}
    clock.ahead = hub.KEEP_SECONDS + hub.ANSWER_SECONDS + 1
    assert [hub.has_weights(NAME) for _ in range(5)] == [not yes] * 5
    assert fake.asked() == 2


def test_callers_at_the_same_time_ask_once_and_get_one_answer(fake) -> None:
    fake.add("config.json")
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.append(hub.has_weights(NAME))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8
    assert fake.asked() == 1


def test_a_failed_download_is_a_no_for_a_minute(fake, clock) -> None:
    fake.add("config.json")
    assert hub.has_weights(NAME)
    assert hub.fetch(NAME) is None
    assert fake.asked("model.safetensors") == fake.asked("pytorch_model.bin") == 1
    seen = len(fake.seen)
    assert hub.has_weights(NAME) is False
    assert hub.fetch(NAME) is None
    assert len(fake.seen) == seen
    fake.add("model.safetensors", WEIGHTS)
    clock.ahead = hub.KEEP_SECONDS + 1
    assert hub.fetch(NAME) is not None
    assert fake.asked() == 2


# ---- the cache ----------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_weights_are_fetched_into_the_cache_once(fake, cache, file) -> None:
    fake.add("config.json")
    fake.add(file, WEIGHTS)
    path = hub.fetch(NAME)
    assert path is not None
    assert path.is_relative_to(cache)
    assert path.read_bytes() == WEIGHTS
    seen = len(fake.seen)
    assert hub.cached_weights(NAME) == hub.fetch(NAME) == path
    assert len(fake.seen) == seen


def test_cached_weights_are_loaded_without_a_request_even_from_a_black_hole(fake, cache) -> None:
    fake.way = Handler.say_nothing
    model = create(NAME).state_dict()
    for name, tensor in model.items():
        model[name] = torch.from_numpy(
            np.random.default_rng(len(name)).standard_normal(tensor.shape)
        ).to(tensor)
    fake.add("config.json")
    path = keep(cache, NAME, "model.safetensors", save(model))
    assert hub.cached_weights(NAME) == path
    loaded = backbones.load(NAME).model.state_dict()
    assert all(torch.equal(tensor, model[name]) for name, tensor in loaded.items())
    assert fake.seen == []


def test_a_damaged_file_in_the_cache_is_an_error_that_says_what_to_do(fake, cache) -> None:
    keep(cache, NAME, "model.safetensors", b"damaged")
    with pytest.raises(BackboneUnavailable) as caught:
        backbones.load(NAME)
    check_message(caught.value, NAME, "damaged", "delete them", "--weights")


def test_without_weights_and_hub_the_error_says_what_to_do() -> None:
    with pytest.raises(BackboneUnavailable) as caught:
        backbones.load("dino-vits8")
    check_message(caught.value, "dino-vits8", "--weights", f"bundled-vits14 ({LABELS})")


# ---- auto ---------------------------------------------------------------------------------------


def check_substitute(found: tuple[str, str]) -> None:
    name, sentence = found
    assert name == "bundled-vits14"
    check_message(ValueError(sentence), "dino-vits8", f"bundled-vits14 ({LABELS})")
    assert sentence.count(".") == 1


def test_auto_is_the_papers_backbone_when_its_weights_are_given(fake) -> None:
    for weights in (Path("x.pth"), "https://host/x.pth"):
        assert backbones.resolve("auto", weights=weights) == ("dino-vits8", "")
    assert fake.seen == []


def test_auto_is_the_papers_backbone_when_its_weights_are_cached(fake, cache) -> None:
    keep(cache, PAPER, "model.safetensors", WEIGHTS)
    for may_wait in (True, False):
        assert backbones.resolve("auto", may_wait=may_wait) == ("dino-vits8", "")
    assert fake.seen == []


def test_auto_is_the_papers_backbone_when_the_hub_sends_it(fake) -> None:
    fake.add("config.json", name=PAPER)
    fake.add("model.safetensors", WEIGHTS, name=PAPER)
    assert backbones.resolve("auto") == ("dino-vits8", "")


def test_auto_is_the_bundled_one_and_says_so_when_the_hub_has_nothing() -> None:
    check_substitute(backbones.resolve("auto"))


def test_auto_is_the_bundled_one_and_says_so_when_the_download_fails(fake) -> None:
    fake.add("config.json", name=PAPER)
    check_substitute(backbones.resolve("auto"))


def test_auto_does_not_wait_when_it_may_not(silent_resolver) -> None:
    assert seconds_of(lambda: backbones.resolve("auto", may_wait=False)) < 1
    for _ in range(20):
        check_substitute(backbones.resolve("auto", may_wait=False))
    assert len(silent_resolver) <= 1


def test_what_was_fetched_in_the_background_is_used_the_next_time(fake) -> None:
    fake.add("config.json", name=PAPER)
    fake.add("model.safetensors", WEIGHTS, name=PAPER)
    check_substitute(backbones.resolve("auto", may_wait=False))
    hub._fetching[PAPER].join(10)
    assert backbones.resolve("auto", may_wait=False) == ("dino-vits8", "")
    assert fake.asked() == 1


def test_names_other_than_auto_are_never_asked_for(fake) -> None:
    for name in backbones.names()[1:]:
        assert backbones.resolve(name) == (name, "")
    assert fake.seen == []


def test_an_analysis_with_the_substitute_names_it_and_says_why() -> None:
    clip = np.random.default_rng(0).integers(0, 256, (2, 28, 42, 3), np.uint8)
    analysis = analyse(clip, Settings(size=(28, 42), device="cpu"))
    assert analysis.settings.backbone == "bundled-vits14"
    check_substitute((analysis.settings.backbone, analysis.notes[0]))
    assert LABELS in analysis.notes[1]
