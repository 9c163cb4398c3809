"""The endpoint writer against a real server on loopback that stalls, refuses, lies, breaks off and dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from chat_server import TOKENS, describe, serve

from groundsynth.captions import endpoint as module
from groundsynth.captions.answers import body_key
from groundsynth.captions.batch import export_batch, import_batch
from groundsynth.captions.endpoint import EndpointWriter
from groundsynth.captions.journal import Journal, request_key
from groundsynth.captions.prompts import PROMPTS, check_template, fill_template
from groundsynth.captions.unwritten import Unwritten, read_picture
from groundsynth.captions.writers import WriterSettings, caption_chips, make_writer, usage_rows
from groundsynth.config import Endpoint
from groundsynth.errors import GroundsynthError

SIDE = 16


@pytest.fixture
def server():
    with serve() as running:
        yield running


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch):
    monkeypatch.setattr(module, "FIRST_WAIT", 0.01)


def settings(url: str, **changes: object) -> dict:
    values = {"url": url, "model": "tiny", "timeout": 5, "concurrent": 4, "max_tokens": 60}
    return Endpoint(**values | changes).model_dump(mode="json")


def chips(n: int) -> tuple[list[np.ndarray], list[np.ndarray], list[int]]:
    """Return n pictures, each of one grey of its own, n maps, and the seeds 1000…"""
    images = [np.full((SIDE, SIDE, 3), i % 256, np.uint8) for i in range(n)]
    maps = [np.full((SIDE, SIDE), i % 7, np.uint8) for i in range(n)]
    return images, maps, list(range(1000, 1000 + n))


def expected(n: int) -> list[str]:
    return [f"mean {i % 256}, seed {1000 + i}" for i in range(n)]


def test_every_chip_gets_its_own_caption_and_no_more_requests_run_than_allowed(server, tmp_path):
    server.delay = 0.02
    writer = EndpointWriter("image", settings(server.url), tmp_path)
    assert writer.write(*chips(40)) == expected(40)
    assert 1 < server.most <= 4
    assert sorted(server.asked) == list(range(1000, 1040))


def test_a_second_run_asks_nothing_and_another_prompt_asks_again(server, tmp_path):
    EndpointWriter("image", settings(server.url), tmp_path).write(*chips(6))
    again = EndpointWriter("image", settings(server.url), tmp_path)
    assert again.write(*chips(6)) == expected(6)
    assert len(server.asked) == 6
    assert again.usage == {"prompt_tokens": 600, "answer_tokens": 60, "cost": 0.0}
    EndpointWriter("image", settings(server.url, prompt="In one word?"), tmp_path).write(*chips(6))
    assert len(server.asked) == 12


@pytest.mark.parametrize("fault", [429, 500, 503, "half", "json", "utf8", "shape", "empty"])
def test_trouble_that_passes_is_met_with_patience(server, fault):
    server.faults = [fault, fault]
    writer = EndpointWriter("image", settings(server.url, concurrent=1))
    assert writer.write(*chips(3)) == expected(3)
    assert len(server.asked) == 5


@pytest.mark.parametrize("fault", ["stall", "trickle"])
def test_a_server_that_stalls_is_asked_again(server, fault):
    server.faults = [fault]
    writer = EndpointWriter("image", settings(server.url, timeout=0.4, concurrent=1))
    started = time.monotonic()
    assert writer.write(*chips(1)) == expected(1)
    assert 0.4 <= time.monotonic() - started < 15


@pytest.mark.parametrize("as_date", [False, True])
def test_a_wait_the_server_asks_for_is_kept(server, as_date):
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    server.faults = [(429, date if as_date else "1")]
    started = time.monotonic()
    assert EndpointWriter("image", settings(server.url)).write(*chips(1)) == expected(1)
    assert 0.9 <= time.monotonic() - started < 15


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("utf8", "the answer is not valid UTF-8 (2 attempts)"),
        ("json", "the answer is not valid JSON (2 attempts)"),
        ("shape", "the answer is no chat completion (2 attempts)"),
        (500, "the server answered 500 Internal Server Error (2 attempts)"),
        ("half", "attempts)"),
        (400, 'the server answered 400 Bad Request: {"error": {"message": "no"}}'),
        (
            "long",
            "the caption is longer than max_tokens = 60; raise it, or ask for fewer words in the prompt",
        ),
        ("words", "the caption is longer than max_tokens = 60"),
        ("filter", "the server held its answer back"),
    ],
)
def test_trouble_with_one_chip_costs_that_chip(server, tmp_path, fault, words):
    server.poisoned[1002] = fault
    writer = EndpointWriter("image", settings(server.url, attempts=2), tmp_path)
    found = writer.write(*chips(5))
    assert isinstance(found[2], Unwritten)
    assert words in found[2]
    assert found[:2] + found[3:] == expected(5)[:2] + expected(5)[3:]
    server.poisoned.clear()
    assert writer.write(*chips(5)) == expected(5), "what failed is asked again, and nothing else"
    assert len(server.asked) - server.asked.count(1002) == 4


def test_an_image_that_cannot_be_read_costs_its_chip(server):
    images, maps, seeds = chips(4)
    images[1], images[2] = b"\x89PNG no", np.zeros((4, 4), np.uint8)
    found = EndpointWriter("image", settings(server.url)).write(images, maps, seeds)
    assert found[1].startswith("its image cannot be read (cannot identify image file")
    assert found[2] == "its image is uint8 of shape (4, 4), not uint8 of (h, w, 3); make the chip again"
    assert [found[0], found[3]] == [expected(4)[0], expected(4)[3]]


def test_encoded_pictures_are_read():
    from groundsynth.artifacts import encode_png

    picture = np.random.default_rng(0).integers(0, 255, (5, 7, 3)).astype(np.uint8)
    assert (read_picture(encode_png(picture)) == picture).all()


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ([401], r"answered 401 Unauthorized; put a valid key into the environment variable MY_KEY"),
        ([404], r"answered 404 Not Found; correct caption\.endpoint\.url and \.model \('tiny'\)"),
        ([400] * 99, r"9 chips in a row got no caption \(the last: the server answered 400"),
        ([500] * 99, r"9 chips in a row got no caption .*run again: 0 captions are kept"),
    ],
)
def test_trouble_with_the_server_ends_the_run_in_one_sentence(server, faults, words):
    server.faults = list(faults)
    writer = EndpointWriter("image", settings(server.url, attempts=2, key_variable="MY_KEY"))
    with pytest.raises(GroundsynthError, match=words):
        writer.write(*chips(40))
    assert len(server.asked) < 40, "it does not go through all chips"


def test_no_server_at_all(tmp_path):
    with serve() as gone:
        url = gone.url
    writer = EndpointWriter("image", settings(url, attempts=2), tmp_path)
    with pytest.raises(GroundsynthError, match="the connection broke off or could not be made"):
        writer.write(*chips(40))


def test_a_server_that_dies_half_way_keeps_what_it_wrote(tmp_path):
    with serve() as first:
        first.delay = 0.01
        images, maps, seeds = chips(12)
        writer = EndpointWriter("image", settings(first.url), tmp_path)
        writer.write(images[:7], maps[:7], seeds[:7])
        first.faults = [503] * 99
        few = EndpointWriter("image", settings(first.url, attempts=1, concurrent=1), tmp_path)
        with pytest.raises(GroundsynthError, match=r"run again: 7 captions are kept"):
            few.write(images, maps, seeds)
    with serve() as second:
        again = EndpointWriter("image", settings(second.url), tmp_path)
        assert again.write(*chips(12)) == expected(12)
        assert sorted(second.asked) == seeds[7:]


def test_modes_send_what_they_name(server):
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[:4] = 6
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    sent = {
        mode: EndpointWriter(mode, settings(server.url)).body(image, labels, 5)["messages"][0]["content"]
        for mode in ("map", "image", "both")
    }
    kinds = {mode: [part["type"] for part in content] for mode, content in sent.items()}
    assert kinds == {"map": ["text"], "image": ["text", "image_url"], "both": ["text", "image_url"]}
    for mode, content in sent.items():
        assert ("tree cover 75%, water 25%" in content[0]["text"]) == (mode != "image")
        assert ("water north" in content[0]["text"]) == (mode != "image")


def test_the_key_travels_and_is_not_kept(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret-words")
    EndpointWriter("image", settings(server.url, key_variable="MY_KEY"), tmp_path).write(*chips(2))
    assert set(server.keys) == {"Bearer secret-words"}
    assert "secret" not in (tmp_path / "endpoint-image.jsonl").read_text()


@pytest.mark.parametrize(
    ("template", "mode", "words"),
    [
        (
            "Say {colour}.",
            "map",
            r"prompt of writer 'w': \{colour\} is not a field; fields are \{shares\}, \{layout\}",
        ),
        ("Say {0}.", "map", r"\{0\} is not a field"),
        ("Say {shares.", "map", r"expected '}' before end of string; write a brace that is no field twice"),
        ("It is {shares}.", "image", r"\{shares\} is read off the map, which mode 'image' does not see"),
    ],
)
def test_a_prompt_that_cannot_be_filled_says_so(template, mode, words):
    with pytest.raises(GroundsynthError, match=words):
        check_template(template, mode, "w")


def test_prompts_fill_in_the_facts():
    assert fill_template("{size}: {shares} {{x}}", np.full((8, 8), 3, np.uint8)) == "8: cropland 100% {x}"
    assert fill_template("{shares}", np.full((8, 8), 255, np.uint8)) == "unknown"
    for mode, template in PROMPTS.items():
        assert check_template(None, mode, "w") == check_template(template, mode, "w") == template


# --- through the stage -----------------------------------------------------------------------


def table(n: int) -> pd.DataFrame:
    images, maps, _ = chips(n)
    return pd.DataFrame(
        {"chip_id": [f"c{i}" for i in range(n)], "system": "real", "image": images, "mask": maps}
    )


def test_writers_side_by_side_and_what_they_could_not_write(server, tmp_path):
    given = WriterSettings(endpoint=settings(server.url, price_prompt=2, price_answer=10), journals=tmp_path)
    authors = [make_writer(name, settings=given) for name in ("layout", "endpoint:image", "endpoint:map")]
    data = table(5)
    data["image"] = [b"broken" if i == 3 else image for i, image in enumerate(data["image"])]
    captions, unwritten = caption_chips(authors, data, 2, 0)
    assert captions.groupby("writer").size().to_dict() == {
        "layout": 10,
        "endpoint:image": 8,
        "endpoint:map": 10,
    }
    assert unwritten[["chip_id", "caption_index", "writer"]].to_numpy().tolist() == [
        ["c3", 0, "endpoint:image"], ["c3", 1, "endpoint:image"],
    ]  # fmt: skip
    asked = captions[captions["writer"] == "endpoint:image"]
    assert asked["decoding"].unique() == ["temperature 0.7, at most 60 tokens"]
    assert asked["mode"].unique() == ["image"]
    assert asked["writer_version"].unique() == ["tiny"]
    assert asked["seed"].nunique() == 8
    rows = {row["metric"]: row["value"] for row in usage_rows("s", "05_caption", authors[1])}
    tokens = [8 * TOKENS["prompt_tokens"], 8 * TOKENS["completion_tokens"]]
    assert rows == {"prompt_tokens": tokens[0], "answer_tokens": tokens[1], "cost": pytest.approx(0.0024)}
    assert usage_rows("s", "05_caption", authors[0]) == []


def test_a_writer_that_writes_nothing_and_no_chips_say_so(server):
    given = WriterSettings(endpoint=settings(server.url, attempts=1))
    server.faults = ["long"] * 9
    with pytest.raises(
        GroundsynthError, match=r"'endpoint:image' wrote none of 2 captions: the caption is longer"
    ):
        caption_chips([make_writer("endpoint:image", settings=given)], table(2), 1, 0)
    with pytest.raises(GroundsynthError, match="no chip to describe: the table of chips is empty"):
        caption_chips([make_writer("layout")], table(2).iloc[:0], 1, 0)


# --- the journal -----------------------------------------------------------------------------


def test_a_broken_last_line_costs_that_line_only(tmp_path):
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        assert journal.add("a", "one")
        assert not journal.add("a", "other")
        journal.add("b", "zwei Flüsse")
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    with Journal(path) as journal:
        assert set(journal.lines) == {"a"}
        journal.add("b", "two")
    with Journal(path) as journal:
        assert {key: journal[key]["caption"] for key in "ab"} == {"a": "one", "b": "two"}


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_wherever_a_line_is_cut_the_rest_is_whole(tmp_path, cut):
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        for i in range(3):
            journal.add(f"k{i}", "caption")
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path) as journal:
        for i in range(3):
            journal.add(f"k{i}", "caption")
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    assert sorted(line["key"] for line in lines) == ["k0", "k1", "k2"]


def test_one_run_at_a_time(tmp_path):
    with (
        Journal(tmp_path / "j.jsonl"),
        pytest.raises(GroundsynthError, match="another run is writing captions to it"),
        Journal(tmp_path / "j.jsonl"),
    ):
        pass


def test_keys_tell_parts_apart():
    assert request_key("ab", "c") != request_key("a", "bc")
    assert request_key({"x": 1, "y": 2}) == request_key({"y": 2, "x": 1})


# --- batch files -----------------------------------------------------------------------------


def answer_batch(path: Path) -> list[bytes]:
    """Answer a file of requests as a server does."""
    lines = []
    for line in path.read_text().splitlines():
        request = json.loads(line)
        assert request["method"] == "POST"
        assert request["url"] == "/v1/chat/completions"
        choice = {"message": {"content": describe(request["body"])}, "finish_reason": "stop"}
        body = {"model": "tiny-1", "choices": [choice], "usage": TOKENS}
        answer = {
            "custom_id": request["custom_id"],
            "response": {"status_code": 200, "body": body},
            "error": None,
        }
        lines.append(json.dumps(answer).encode())
    return lines


def test_a_batch_goes_out_and_comes_back(server, tmp_path, monkeypatch):
    monkeypatch.setattr("groundsynth.captions.batch.MOST_REQUESTS", 4)
    writer = EndpointWriter("image", settings(server.url), tmp_path)
    images, maps, seeds = chips(10)
    writer.write(images[:3], maps[:3], seeds[:3])
    images[9] = b"broken"
    parts = export_batch(writer, zip(images, maps, seeds, strict=True), tmp_path / "batch")
    assert [len(part.read_text().splitlines()) for part in parts] == [4, 2], "three are known, one is broken"
    lines = [line for part in parts for line in answer_batch(part)]
    failed = json.loads(lines[0]) | {"response": {"status_code": 500}}
    wrong = lines[1].replace(b"seed", b"s\xffed")
    answers = tmp_path / "answers.jsonl"
    answers.write_bytes(b"\n".join([json.dumps(failed).encode(), wrong, *lines[2:], lines[2], b"{}", b""]))
    assert import_batch(writer, answers) == {
        "taken": 4, "known": 1, "the server answered 500": 1, "the answer is not valid UTF-8": 1,
        "the line is no answer of a batch": 1,
    }  # fmt: skip
    asked = len(server.asked)
    assert writer.write(images[:9], maps[:9], seeds[:9]) == expected(9)
    assert len(server.asked) - asked == 2, "only the two that failed are asked for"


def test_a_file_that_is_no_batch_says_so(server, tmp_path):
    writer = EndpointWriter("image", settings(server.url), tmp_path)
    (tmp_path / "odd.jsonl").write_text("<html>\n")
    with pytest.raises(GroundsynthError, match=r"odd\.jsonl: holds no answer of a batch"):
        import_batch(writer, tmp_path / "odd.jsonl")
    with pytest.raises(GroundsynthError, match=r"gone\.jsonl: cannot be read \(No such file"):
        import_batch(writer, tmp_path / "gone.jsonl")


def test_the_batch_command_serves_a_fold_of_a_study(root, tmp_path, monkeypatch, server):
    from small_study import make_study

    from groundsynth.__main__ import main

    make_study(tmp_path)
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(tmp_path))
    values = yaml.safe_load((root / "config" / "smoke.yaml").read_text())
    values["caption"] |= {
        "writers": ["layout", "endpoint:both"], "endpoint": {"url": server.url, "model": "tiny"},
    }  # fmt: skip
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(values))
    command = ["caption-batch", str(tmp_path / "s.yaml"), "--writer"]
    assert main([*command, "endpoint:both", "--export", str(tmp_path / "out")]) == 0
    (part,) = (tmp_path / "out").iterdir()
    (tmp_path / "answers.jsonl").write_bytes(b"\n".join(answer_batch(part)))
    assert main([*command, "endpoint:both", "--answers", str(tmp_path / "answers.jsonl")]) == 0
    assert main([*command, "endpoint:both", "--export", str(tmp_path / "rest")]) == 0
    assert not (tmp_path / "rest").exists(), "every caption is in the journal"
    assert main([*command, "endpoint:map", "--export", str(tmp_path / "rest")]) == 1


def test_batch_and_server_share_their_keys(server, tmp_path):
    writer = EndpointWriter("image", settings(server.url), tmp_path)
    images, maps, seeds = chips(1)
    writer.write(images, maps, seeds)
    with writer.journal() as journal:
        assert set(journal.lines) == {body_key(writer.body(images[0], maps[0], seeds[0]))}


# --- killed and resumed ----------------------------------------------------------------------

RUN = """
import sys
sys.path[:0] = {paths!r}
from test_endpoint import EndpointWriter, chips, settings
from groundsynth.captions import endpoint
endpoint.FIRST_WAIT = 0.05
writer = EndpointWriter("image", settings({url!r}, concurrent={concurrent}, attempts=8), {folder!r})
found = writer.write(*chips({n}))
print(sum(isinstance(text, str) and text.startswith("mean") for text in found))
"""


def kill_twice_and_resume(server, folder: Path, n: int, concurrent: int) -> list[dict]:
    """Caption n chips, killed when a third and two thirds are done; return the journal's lines."""
    paths = [str(Path(__file__).parent), *sys.path]
    code = RUN.format(paths=paths, url=server.url, folder=str(folder), n=n, concurrent=concurrent)
    script = folder / "run.py"
    script.write_text(code.replace(f"{str(folder)!r})", f"__import__('pathlib').Path({str(folder)!r}))"))
    journal = folder / "endpoint-image.jsonl"

    def done() -> int:
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    for part in (1, 2):
        run = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
        while done() < part * n // 3:
            assert run.poll() is None, "it ended before it was killed"
            time.sleep(0.01)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        assert part * n // 3 <= done() < n
    last = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert last.stdout.split()[-1] == str(n)
    return [json.loads(line) for line in journal.read_text().splitlines() if line.endswith("}")]


def check_nothing_lost_nothing_twice(lines: list[dict], server, n: int, concurrent: int) -> None:
    assert len(lines) == len({line["key"] for line in lines}) == n
    assert sorted(line["caption"] for line in lines) == sorted(expected(n))
    repeated = len(server.asked) - n
    troubled = n // 25
    assert repeated <= 2 * concurrent + troubled, (
        "only what was under way at a kill, or met a fault, is asked twice"
    )


def test_killed_twice_and_resumed(server, tmp_path):
    server.delay = 0.02
    lines = kill_twice_and_resume(server, tmp_path, 150, 4)
    check_nothing_lost_nothing_twice(lines, server, 150, 4)


@pytest.mark.slow
def test_ten_thousand_chips_killed_twice(server, tmp_path):
    n, concurrent = 10_000, 16
    server.faults = [[429, 500, "half", "json", "utf8", ""][i % 6] if i % 30 == 0 else "" for i in range(n)]
    server.delay = 0.01
    started = time.monotonic()
    lines = kill_twice_and_resume(server, tmp_path, n, concurrent)
    check_nothing_lost_nothing_twice(lines, server, n, concurrent)
    print(f"{n} chips, {concurrent} at once, killed twice: {(time.monotonic() - started) / 60:.1f} minutes")


# --- a real counterpart ----------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_server_with_a_tiny_model(tmp_path):
    """``transformers serve`` with a tiny LLaVA: what it writes arrives, and stays when the server is gone."""
    pytest.importorskip("fastapi", reason="needs transformers[serving]")
    pytest.importorskip("uvicorn", reason="needs transformers[serving]")
    import socket

    import requests
    from tiny_models import WORDS, make_image_model

    model = make_image_model(tmp_path / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [
        str(Path(sys.executable).with_name("transformers")),
        "serve",
        str(model),
        "--host",
        "127.0.0.1",
    ]
    serving = subprocess.Popen(
        [*command, "--port", str(port), "--device", "cpu", "--dtype", "float32"],
        env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    given = settings(f"{url}/v1", model=str(model), max_tokens=300, timeout=120, concurrent=2)
    try:
        for _ in range(180):
            assert serving.poll() is None, "the server ended"
            try:
                if requests.get(f"{url}/health", timeout=2).ok:
                    break
            except requests.RequestException:
                time.sleep(1)
        first = EndpointWriter("image", given, tmp_path).write(*chips(8))
    finally:
        serving.terminate()
        serving.wait()
    written = [text for text in first if not isinstance(text, Unwritten)]
    assert len(written) > 4
    assert all(set(text.split()) <= set(WORDS) for text in written)
    kept = [i for i, text in enumerate(first) if not isinstance(text, Unwritten)]
    images, maps, seeds = chips(8)
    again = EndpointWriter("image", given, tmp_path)
    assert again.write(*([values[i] for i in kept] for values in (images, maps, seeds))) == written
    assert again.usage["prompt_tokens"] > again.usage["answer_tokens"] > 0
