"""The vlm writer: a local image-text model of Hugging Face's kinds describes chips, batch by batch.

The model is a folder, or a name on the hub that is fetched once. Prompts are padded on the left, so that
every caption continues its own prompt; weights are bfloat16 on a GPU. Words are drawn with a generator of
each caption's own, so batches do not change them but for rounding; of the model's own settings for
generation, those that forbid or penalise words are kept. In mode ``map`` a plain language model
will do. Every batch is in the journal as soon as it is written.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    LogitsProcessorList,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from groundsynth.captions.journal import Journal, request_key
from groundsynth.captions.prompts import check_template, fill_template
from groundsynth.captions.unwritten import Unwritten, read_picture
from groundsynth.errors import GroundsynthError
from groundsynth.seeded_draws import SeededDraws

NEEDED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")  # of a model on the hub
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
HASHED = 1 << 20  # bytes at the start of each weight file that name a folder's version, with its size


@dataclass(frozen=True)
class _Asked:
    """One caption to be written: its key in the journal, prompt, picture (None in mode ``map``) and seed."""

    key: str
    prompt: str
    image: np.ndarray | None
    seed: int


class VlmWriter:
    """Describe chips with a local model (see the module's text).

    Attributes:
        usage: tokens read and written, over all captions returned so far.
    """

    def __init__(
        self, mode: str, settings: dict[str, Any], journals: Path | None = None, device: str = "auto"
    ) -> None:
        """Find the model and check that it suits the mode; its weights are read when they are needed.

        Args:
            mode: ``map``, ``image`` or ``both``; settings: ``config.LocalModel`` as plain values.
            journals: folder of the journal; None keeps none. device: ``auto``, ``cpu`` or ``cuda``.

        Raises:
            GroundsynthError: no such model, a hub that cannot be reached, a folder without a processor, a
                model that sees no images, or a prompt that cannot be filled in.
        """
        self.name, self.mode, self.settings = f"vlm:{mode}", mode, settings
        self.prompt = check_template(settings["prompt"], mode, self.name)
        self.decoding = f"temperature {settings['temperature']:g}, at most {settings['max_tokens']} tokens"
        self.journals = journals
        self.device = _pick_device(device)
        self.folder = find_model(settings["model"])
        self.version = f"{Path(settings['model']).name}@{folder_version(self.folder)}"
        self.sees = _sees_images(self.folder)
        if mode != "map":
            self._check_sight()
        self.usage = {"prompt_tokens": 0, "answer_tokens": 0}
        self._model: _Model | None = None

    def _check_sight(self) -> None:
        if not self.sees:
            raise GroundsynthError(
                f"{self.settings['model']}: a language model, which sees no image; choose writer 'vlm:map' or an "
                "image-text model"
            )
        if not any((self.folder / name).is_file() for name in PROCESSOR_FILES):
            raise GroundsynthError(
                f"{self.settings['model']}: the folder has no processor ({' or '.join(PROCESSOR_FILES)}); save "
                "the model's processor into it"
            )

    def write(self, images: Sequence[Any], maps: Sequence[np.ndarray], seeds: Sequence[int]) -> list[str]:
        """Return one caption per chip, or why there is none (see ``writers.Writer``)."""
        asked = [self._ask(*chip) for chip in zip(images, maps, seeds, strict=True)]
        with ExitStack() as stack:
            folder = self.journals or Path(stack.enter_context(TemporaryDirectory()))
            journal = stack.enter_context(Journal(folder / f"{self.name.replace(':', '-')}.jsonl"))
            reasons = self._write_missing([a for a in asked if isinstance(a, _Asked)], journal)
            return [self._caption(a, journal, reasons) for a in asked]

    def _ask(self, image: Any, labels: np.ndarray, seed: int) -> _Asked | Unwritten:
        try:
            picture = None if self.mode == "map" else read_picture(image)
        except GroundsynthError as error:
            return Unwritten(error)
        prompt = fill_template(self.prompt, labels)
        seen = b"" if picture is None else picture.tobytes()
        shape = [] if picture is None else list(picture.shape)
        return _Asked(
            request_key(self.version, self.decoding, prompt, shape, seen, seed), prompt, picture, seed
        )

    def _write_missing(self, asked: list[_Asked], journal: Journal) -> dict[str, str]:
        """Write what the journal lacks, and return the reasons for what could not be written, by key."""
        missing = [a for a in asked if a.key not in journal]
        size, reasons = self.settings["batch_size"], {}
        batches = [missing[i : i + size] for i in range(0, len(missing), size)]
        for batch in tqdm(batches, desc=self.name, disable=None):
            if self._model is None:
                self._model = _Model(self.folder, self.sees, self.device)
            for one, (text, read, written) in zip(batch, self._generate(batch), strict=True):
                if isinstance(text, Unwritten):
                    reasons[one.key] = text
                else:
                    journal.add(one.key, text, prompt_tokens=read, answer_tokens=written)
        return reasons

    def _generate(self, batch: list[_Asked]) -> list[tuple[str, int, int]]:
        limit = self.settings["max_tokens"]
        try:
            return self._model.generate(batch, limit, self.settings["temperature"])
        except torch.cuda.OutOfMemoryError:
            raise GroundsynthError(
                f"{self.settings['model']}: {len(batch)} chips at once do not fit the GPU's memory; lower "
                "caption.vlm.batch_size and run again: what is written is kept"
            ) from None

    def _caption(self, asked: _Asked | Unwritten, journal: Journal, reasons: dict[str, str]) -> str:
        if isinstance(asked, Unwritten):
            return asked
        if asked.key not in journal:
            return reasons[asked.key]
        line = journal[asked.key]
        for name in self.usage:
            self.usage[name] += line[name]
        return line["caption"]


class _Model:
    """A model in memory with what turns prompts and pictures into its input."""

    def __init__(self, folder: Path, sees: bool, device: torch.device) -> None:
        kind = AutoModelForImageTextToText if sees else AutoModelForCausalLM
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        try:
            self.processor = (AutoProcessor if sees else AutoTokenizer).from_pretrained(
                folder, local_files_only=True
            )
            self.model = kind.from_pretrained(folder, local_files_only=True, dtype=dtype).to(device).eval()
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise GroundsynthError(
                f"{folder.name}: cannot be loaded ({' '.join(str(error).split())[:200]}); save model, tokenizer and "
                "processor into the folder again"
            ) from None
        self.sees, self.device = sees, device
        self.tokenizer = getattr(self.processor, "tokenizer", self.processor)
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        ends = self.model.generation_config.eos_token_id
        ends = self.tokenizer.eos_token_id if ends is None else ends
        self.ends = [ends] if isinstance(ends, int) else list(ends)

    def generate(self, batch: list[_Asked], limit: int, temperature: float) -> list[tuple[str, int, int]]:
        """Return a caption (or an :class:`Unwritten`) with the tokens read and written for each request."""
        inputs = self._inputs(batch)
        config = copy.deepcopy(self.model.generation_config)
        config.update(
            do_sample=False, temperature=None, top_p=None, top_k=None, max_length=None, max_new_tokens=limit,
            eos_token_id=self.ends, pad_token_id=self.tokenizer.pad_token_id,
        )  # fmt: skip
        draws = LogitsProcessorList()
        if temperature:
            draws.append(SeededDraws([a.seed for a in batch], temperature))
        with torch.inference_mode():
            whole = self.model.generate(**inputs, generation_config=config, logits_processor=draws)
        answers = whole[:, inputs["input_ids"].shape[1] :].cpu()
        read = inputs["attention_mask"].sum(1).tolist()
        return [(self._text(row, limit), n, self._length(row)) for row, n in zip(answers, read, strict=True)]

    def _inputs(self, batch: list[_Asked]) -> Any:
        texts = [self._conversation(a.prompt, a.image is not None) for a in batch]
        options = {"padding": True, "return_tensors": "pt"}
        if self.sees:
            images = [[a.image] for a in batch] if batch[0].image is not None else None
            inputs = self.processor(text=texts, images=images, **options)
        else:
            inputs = self.tokenizer(texts, **options)
        inputs.pop("token_type_ids", None)
        return inputs.to(self.device, dtype=self.model.dtype) if self.sees else inputs.to(self.device)

    def _conversation(self, prompt: str, pictured: bool) -> str:
        """Return the prompt as the model's own kind of conversation, where it has one."""
        content: Any = [{"type": "image"}] * pictured + [{"type": "text", "text": prompt}]
        if getattr(self.processor, "chat_template", None):
            turn = {"role": "user", "content": content if self.sees else prompt}
            return self.processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)
        return getattr(self.processor, "image_token", "") * pictured + prompt

    def _length(self, row: torch.Tensor) -> int:
        ended = torch.isin(row, torch.tensor(self.ends)).nonzero()
        return int(ended[0]) + 1 if len(ended) else len(row)

    def _text(self, row: torch.Tensor, limit: int) -> str:
        if not torch.isin(row, torch.tensor(self.ends)).any():
            return Unwritten(
                f"the caption is longer than max_tokens = {limit}; raise it, or ask for fewer words in the prompt"
            )
        text = " ".join(self.tokenizer.decode(row[: self._length(row)], skip_special_tokens=True).split())
        if "\ufffd" in text:
            return Unwritten("the answer is not valid UTF-8")
        return text or Unwritten("the answer is empty")


# --- the folder ------------------------------------------------------------------------------


def find_model(name: str) -> Path:
    """Return the folder of a model: the one named, or the hub's, fetched unless it is here already.

    Raises:
        GroundsynthError: neither a folder nor a model of the hub, or a hub that cannot be reached.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise GroundsynthError(
                f"{name}: no model lies here (no config.json); name a folder that holds one"
            )
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(NEEDED)))
    except HFValidationError:
        raise GroundsynthError(
            f"{name}: neither a folder nor the name of a model on the hub; correct caption.vlm.model"
        ) from None
    except LocalEntryNotFoundError:
        raise GroundsynthError(
            f"{name}: not on this computer, and the hub cannot be reached; fetch the model where there is a network "
            "and name its folder"
        ) from None
    except HfHubHTTPError as error:
        said = str(error).strip().splitlines()[-1]
        raise GroundsynthError(
            f"{name}: the hub refused it ({said}); correct the name, or name a folder"
        ) from None


def folder_version(folder: Path) -> str:
    """Return 12 hex digits of a model's files: of small ones all bytes, of large ones the start and the size."""
    digest = hashlib.sha256()
    for path in sorted(
        p for p in folder.rglob("*") if p.is_file() and p.suffix in {".json", ".safetensors", ".jinja"}
    ):
        with path.open("rb") as stream:
            digest.update(f"{path.relative_to(folder)} {path.stat().st_size}".encode() + stream.read(HASHED))
    return digest.hexdigest()[:12]


def _sees_images(folder: Path) -> bool:
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise GroundsynthError(
            f"{folder.name}: its config.json cannot be read ({' '.join(str(error).split())[:200]}); save it again"
        ) from None
    return type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING


def _pick_device(device: str) -> torch.device:
    if device == "cuda" and not torch.cuda.is_available():
        raise GroundsynthError("device 'cuda' is not there; use device: auto or device: cpu")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
