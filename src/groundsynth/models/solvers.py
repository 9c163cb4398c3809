"""From noise to a sample: the ways to walk down the noise levels, each on the same network.

``dpmpp_2m`` and ``euler`` solve the probability-flow ODE and add no noise. ``heun`` is the second-order
solver of Karras et al. 2022 (Algorithm 2), with churn where it is asked for: before each step a little
new noise, which costs agreement with the given map nothing and moves samples of one map apart. ``ddpm``
is the stock loop of Ho et al. 2020 (Algorithm 2) over 1,000 levels, the yardstick of speed.

Whatever noise a sample needs, at its start or on the way, comes from its own generator, so it is the
same sample in any batch, shard and order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from diffusers import DDPMScheduler, EDMDPMSolverMultistepScheduler, EDMEulerScheduler

from groundsynth.errors import GroundsynthError
from groundsynth.models.colour import SIGMA_DATA
from groundsynth.models.noise import SIGMA_LIMITS

SCHEDULED = {"dpmpp_2m": EDMDPMSolverMultistepScheduler, "euler": EDMEulerScheduler}
SOLVERS = (*SCHEDULED, "heun", "ddpm")
CHURNED = (0.05, 50.0)  # levels between which noise is added (Karras et al. 2022, Table 5: S_tmin, S_tmax)
INFLATION = 1.003  # of that noise's standard deviation (S_noise)
MOST_CHURN = 2**0.5 - 1  # a step may at most double the variance of the noise
DDPM_STEPS = 1000

Predict = Callable[[torch.Tensor, float], torch.Tensor]  # parts that move, sigma → raw output F
Watch = Callable[[float, torch.Tensor], None]  # sigma, belief of the clean parts


@dataclass(frozen=True)
class SamplingSettings:
    """How a sample is drawn.

    Attributes:
        steps: number of noise levels visited; ``heun`` asks the network twice at each but the last.
        solver: a name of ``SOLVERS``.
        sigma_range: lowest and highest noise level; ``ddpm`` has its own, 0.01 to 157.
        batch_size: samples drawn together; changes no sample.
        churn: S_churn of Karras et al. 2022, for ``heun``; 0 adds no noise, and more than 0.41 × steps
            adds no more than that.
        guidance: 1 obeys the map, or what was asked for, as trained, 0 ignores it, more exaggerates the
            difference (classifier-free guidance, Ho & Salimans 2022, https://arxiv.org/abs/2207.12598).
        hold_shares: whether what is asked for in class shares, or in a caption from which they can be read, is
            enforced at every step (see ``steering.py``).
        pair_guidance: the same as guidance for the image of a pair, which its own map guides while both are drawn;
            between the levels of ``PAIR_GUIDED``. Only a policy of ``GUIDED`` has learned what this asks.
    """

    steps: int
    solver: str
    sigma_range: tuple[float, float]
    batch_size: int
    churn: float = 0.0
    guidance: float = 1.0
    hold_shares: bool = True
    pair_guidance: float = 1.0

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise GroundsynthError(
                f"solver '{self.solver}' does not exist; choose one of {', '.join(SOLVERS)}"
            )
        if self.churn and self.solver != "heun":
            raise GroundsynthError(
                f"churn {self.churn:g} is read by solver 'heun' alone, and solver is '{self.solver}'; "
                "choose heun or churn 0"
            )

    def scheduler(self, name: str):
        """Return a ``diffusers`` scheduler in EDM's formulation (Karras et al. 2022, eq. 5)."""
        low, high = self.sigma_range
        scheduler = SCHEDULED[name](
            sigma_min=low, sigma_max=high, sigma_data=SIGMA_DATA, prediction_type="epsilon"
        )
        scheduler.set_timesteps(self.steps)
        return scheduler

    @property
    def evaluations(self) -> int:
        """Times the network is asked for one sample without guidance."""
        return 2 * self.steps - 1 if self.solver == "heun" else self.steps


class SampleNoise:
    """Standard normal noise of several samples, each from a generator of its own.

    Args:
        seeds: one per sample.
        size: side of a sample in pixels.
        device: where the noise is wanted. It is drawn on the CPU, so it is the same for every device.
    """

    def __init__(self, seeds: list[int], size: int, device: torch.device) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.size, self.device = size, device

    def draw(self, channels: int) -> torch.Tensor:
        """Return the next noise of every sample, (n, channels, size, size)."""
        shape = (channels, self.size, self.size)
        return torch.stack([torch.randn(shape, generator=g) for g in self.generators]).to(self.device)


def clean_belief(x: torch.Tensor, out: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
    """Return the clean parts the network believes in: c_skip·x + c_out·F (Karras et al. 2022, eq. 7)."""
    total = sigma**2 + SIGMA_DATA**2
    return x * SIGMA_DATA**2 / total + out * sigma * SIGMA_DATA / total**0.5


def raw_output(x: torch.Tensor, clean: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
    """Return the raw output F with which :func:`clean_belief` is ``clean``: its inverse."""
    total = sigma**2 + SIGMA_DATA**2
    return (clean - x * SIGMA_DATA**2 / total) * total**0.5 / (sigma * SIGMA_DATA)


def solve(
    predict: Predict,
    first: torch.Tensor,
    noise: SampleNoise,
    settings: SamplingSettings,
    watch: Watch | None = None,
) -> torch.Tensor:
    """Return samples, (n, c, h, w): the parts that move, from noise to the end.

    Args:
        predict: the network's raw output F for the parts that move, at one sigma.
        first: (n, c, h, w) standard normal noise to start from.
        noise: where more of it comes from, if the solver adds some.
        watch: called at every level with sigma and the belief of the clean parts.
    """
    walks = {"heun": _heun, "ddpm": _ddpm}
    return walks.get(settings.solver, _scheduled)(predict, first, noise, settings, watch)


def _scheduled(predict, first, noise, settings, watch) -> torch.Tensor:
    scheduler = settings.scheduler(settings.solver)
    x = first * scheduler.init_noise_sigma
    for sigma, t in zip(scheduler.sigmas[:-1].tolist(), scheduler.timesteps, strict=True):
        out = predict(x, sigma)
        if watch is not None:
            watch(sigma, clean_belief(x, out, sigma))
        x = scheduler.step(out, t, x).prev_sample
    return x


def _heun(predict, first, noise, settings, watch) -> torch.Tensor:
    sigmas = settings.scheduler("euler").sigmas.tolist()  # highest first, then 0
    x = first * sigmas[0]
    for sigma, following in pairwise(sigmas):
        raised = sigma
        if settings.churn and CHURNED[0] <= sigma <= CHURNED[1]:
            raised = sigma * (1 + min(settings.churn / settings.steps, MOST_CHURN))
            x = x + (raised**2 - sigma**2) ** 0.5 * INFLATION * noise.draw(x.shape[1])
        belief = clean_belief(x, predict(x, raised), raised)
        if watch is not None:
            watch(sigma, belief)
        slope = (x - belief) / raised
        ahead = x + (following - raised) * slope
        if following > 0:  # second order: the mean of the slopes here and there
            there = (ahead - clean_belief(ahead, predict(ahead, following), following)) / following
            ahead = x + (following - raised) * (slope + there) / 2
        x = ahead
    return x


def _ddpm(predict, first, noise, settings, watch) -> torch.Tensor:
    """Walk down DDPM's levels; the network sees x/√ᾱ, which is the sample with noise √((1−ᾱ)/ᾱ)."""
    scheduler = DDPMScheduler(
        DDPM_STEPS, prediction_type="sample", clip_sample=False, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(settings.steps)
    x = first
    for t in scheduler.timesteps:
        kept = scheduler.alphas_cumprod[t].item()
        sigma = ((1 - kept) / kept) ** 0.5
        seen = min(sigma, SIGMA_LIMITS[1])  # above what was trained, noise looks the same but for its scale
        noisy = x / kept**0.5 * (seen / sigma)
        belief = clean_belief(noisy, predict(noisy, seen), seen)
        if watch is not None:
            watch(sigma, belief)
        x = scheduler.step(belief, t, x, generator=noise.generators).prev_sample
    return x
