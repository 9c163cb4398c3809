"""Four ways to teach a pretrained text-to-image pipeline satellite images.

=====================  ==========================================================================
``lora``               low-rank changes of the attention weights (Hu et al. 2021, arXiv:2106.09685)
``dreambooth``         the whole U-Net, bound to a rare word, with images that the untaught model drew
                       of the wider class so that it does not forget them (arXiv:2208.12242)
``textual_inversion``  one new word, nothing else (Gal et al. 2022, arXiv:2208.01618)
``controlnet``         a copy of the encoder that reads a land-cover map (arXiv:2302.05543)
=====================  ==========================================================================

Each is trained through the same loss, and stored in the format of ``diffusers`` and ``peft``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import safetensors.torch
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig, get_peft_model_state_dict
from torch import nn

from groundsynth.errors import GroundsynthError

LORA_TARGETS = ["to_k", "to_q", "to_v", "to_out.0"]
RECORD = "adapted.json"  # what an adapter was made with, and what it fits
EMBEDDING = "learned_embeds.safetensors"
CLASS_PROMPT = "satellite image"  # what the untaught model draws for DreamBooth


class Adapter(ABC):
    """What is trained, how it predicts, and how it is stored; the pipeline around it rests."""

    drops_text = True  # a tenth of the captions are left out, for classifier-free guidance

    def __init__(self, pipe: StableDiffusionPipeline, rank: int, token: str):
        for part in (pipe.unet, pipe.vae, pipe.text_encoder):
            part.requires_grad_(False)
        self.pipe, self.token = pipe, token
        self.trained = self._prepare(rank)

    @abstractmethod
    def _prepare(self, rank: int) -> nn.Module:
        """Add to the pipeline what is trained, and return the network that holds it."""

    def parameters(self) -> list[nn.Parameter]:
        """Return what is trained."""
        return [p for p in self.trained.parameters() if p.requires_grad]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return what is trained by name, for a checkpoint."""
        return {n: p.detach() for n, p in self.trained.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Load what :meth:`state_dict` returned."""
        for name, weight in self.trained.named_parameters():
            if weight.requires_grad:
                weight.copy_(state[name])

    def prompt(self, caption: str) -> str:
        """Return the text a caption becomes."""
        return caption

    def predict(
        self, noisy: torch.Tensor, t: torch.Tensor, text: torch.Tensor, control: torch.Tensor
    ) -> torch.Tensor:
        """Return the U-Net's output.

        Args:
            noisy: (n, c, h, w) latents; t: (n,) time steps.
            text: (n, tokens, k) states of the text encoder.
            control: (n, 3, H, W) coloured maps in [0, 1]; only a ControlNet looks.
        """
        return self.pipe.unet(noisy, t, encoder_hidden_states=text).sample

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what was trained into ``folder``."""

    @staticmethod
    @abstractmethod
    def load(pipe: StableDiffusionPipeline, folder: Path):
        """Return a pipeline with what :meth:`save` wrote."""


class Lora(Adapter):
    """Low-rank changes of every attention of the U-Net."""

    def _prepare(self, rank: int) -> nn.Module:
        self.pipe.unet.add_adapter(
            LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=LORA_TARGETS)
        )
        return self.pipe.unet

    def save(self, folder: Path) -> None:
        """Write ``pytorch_lora_weights.safetensors``."""
        layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(self.pipe.unet))
        StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers)

    @staticmethod
    def load(pipe: StableDiffusionPipeline, folder: Path) -> StableDiffusionPipeline:
        """Return the pipeline with the changes switched on."""
        pipe.load_lora_weights(folder, weight_name="pytorch_lora_weights.safetensors", local_files_only=True)
        return pipe


class DreamBooth(Adapter):
    """The whole U-Net; captions begin with the rare word."""

    drops_text = False

    def _prepare(self, rank: int) -> nn.Module:
        return self.pipe.unet.requires_grad_(True)

    def prompt(self, caption: str) -> str:
        """Return the caption after the rare word and its class."""
        return f"{self.token} {CLASS_PROMPT}. {caption}"

    def save(self, folder: Path) -> None:
        """Write the U-Net."""
        self.pipe.unet.save_pretrained(folder / "unet")

    @staticmethod
    def load(pipe: StableDiffusionPipeline, folder: Path) -> StableDiffusionPipeline:
        """Return the pipeline with the trained U-Net."""
        pipe.unet = UNet2DConditionModel.from_pretrained(folder / "unet", local_files_only=True)
        return pipe


class TextualInversion(Adapter):
    """One new word of the text encoder; captions begin with it."""

    drops_text = False

    def _prepare(self, rank: int) -> nn.Module:
        tokenizer, encoder = self.pipe.tokenizer, self.pipe.text_encoder
        start = tokenizer(CLASS_PROMPT, add_special_tokens=False).input_ids
        if self.token in tokenizer.get_vocab():
            raise GroundsynthError(
                f"adapt.token '{self.token}' is already a word of this tokenizer; choose one that is new"
            )
        tokenizer.add_tokens([self.token])
        row = tokenizer.convert_tokens_to_ids(self.token)
        encoder.resize_token_embeddings(len(tokenizer))
        table = encoder.get_input_embeddings()
        table.requires_grad_(False)
        word = nn.Parameter(table.weight[start].mean(0).clone())
        table.register_forward_hook(
            lambda _, given, out: torch.where((given[0] == row)[..., None], word.to(out), out)
        )
        return nn.ParameterDict({"word": word})

    def prompt(self, caption: str) -> str:
        """Return the caption after the new word."""
        return f"{self.token} {CLASS_PROMPT}. {caption}"

    def save(self, folder: Path) -> None:
        """Write the new word's vector, in the hub's usual form."""
        folder.mkdir(parents=True, exist_ok=True)
        vector = self.trained["word"].detach().cpu().contiguous()
        safetensors.torch.save_file({self.token: vector}, folder / EMBEDDING)

    @staticmethod
    def load(pipe: StableDiffusionPipeline, folder: Path) -> StableDiffusionPipeline:
        """Return the pipeline with the new word."""
        pipe.load_textual_inversion(folder, weight_name=EMBEDDING, local_files_only=True)
        return pipe


class ControlNet(Adapter):
    """A copy of the U-Net's encoder that reads the coloured map."""

    def _prepare(self, rank: int) -> nn.Module:
        steps = len(self.pipe.vae.config.block_out_channels)  # the map shrinks as the image does
        self.controlnet = ControlNetModel.from_unet(
            self.pipe.unet, conditioning_embedding_out_channels=(16, 32, 96, 256)[:steps]
        )
        return self.controlnet.to(self.pipe.unet.device).train()

    def predict(
        self, noisy: torch.Tensor, t: torch.Tensor, text: torch.Tensor, control: torch.Tensor
    ) -> torch.Tensor:
        """Return the U-Net's output with what the copy read off the map added."""
        down, middle = self.controlnet(
            noisy, t, encoder_hidden_states=text, controlnet_cond=control, return_dict=False
        )
        return self.pipe.unet(
            noisy,
            t,
            encoder_hidden_states=text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample

    def save(self, folder: Path) -> None:
        """Write the ControlNet."""
        self.controlnet.save_pretrained(folder / "controlnet")

    @staticmethod
    def load(pipe: StableDiffusionPipeline, folder: Path) -> StableDiffusionControlNetPipeline:
        """Return a pipeline that takes a map as ``image``."""
        controlnet = ControlNetModel.from_pretrained(folder / "controlnet", local_files_only=True)
        return StableDiffusionControlNetPipeline(
            **pipe.components, controlnet=controlnet, requires_safety_checker=False
        )


METHODS: dict[str, type[Adapter]] = {
    "lora": Lora,
    "dreambooth": DreamBooth,
    "textual_inversion": TextualInversion,
    "controlnet": ControlNet,
}


def encode_text(pipe: StableDiffusionPipeline, prompts: list[str], length: int) -> torch.Tensor:
    """Return the text encoder's states (n, length, k); longer prompts are cut."""
    ids = pipe.tokenizer(
        prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
    return pipe.text_encoder(ids.to(pipe.text_encoder.device))[0]
