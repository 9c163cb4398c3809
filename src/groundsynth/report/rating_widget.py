"""The buttons of the human-rating notebook: one trial at a time, each answer kept as soon as it is given."""

from __future__ import annotations

import time
from pathlib import Path

import ipywidgets as widgets
import numpy as np
from PIL import Image

from groundsynth.artifacts import encode_png
from groundsynth.checks.human_rating import ANSWERS, Trials, add_answer, answer_row, remaining
from groundsynth.legend import CLASSES, NO_LABEL, colour_map
from groundsynth.report.style import CLASS_COLOURS

ENLARGED = 5  # screen pixels per pixel of a chip
QUESTIONS = {
    "real_or_synthetic": "Is this image real or synthetic?",
    "map_fits": "Does the map on the right fit the image?",
}


def trial_picture(trials: Trials, trial: int) -> bytes:
    """Return a trial as PNG: the image, and the map where one is asked about, five times enlarged."""
    shown = [trials.images[trial]]
    if (trials.maps[trial] != NO_LABEL).any():
        shown.append(colour_map(trials.maps[trial]))
    joined = np.concatenate([np.pad(x, ((0, 0), (0, 4), (0, 0)), constant_values=255) for x in shown], 1)
    size = joined.shape[1] * ENLARGED, joined.shape[0] * ENLARGED
    return encode_png(np.asarray(Image.fromarray(joined).resize(size, Image.NEAREST)))


class RatingWidget:
    """Shows what a rater has not answered yet; ``view`` is what a notebook displays.

    Nothing tells where a chip comes from: neither its name nor the order.
    """

    def __init__(self, trials: Trials, answers: Path, rater: str) -> None:
        self.trials, self.answers, self.rater = trials, Path(answers), rater
        self.waiting = remaining(trials, self.answers, rater)
        self.question, self.picture, self.buttons = (
            widgets.HTML(),
            widgets.Image(format="png"),
            widgets.HBox(),
        )
        self.bar = widgets.IntProgress(max=len(trials.table), description="answered")
        key = " ".join(
            f'<span style="color:{colour}">■</span> {name}'
            for colour, name in zip(CLASS_COLOURS, CLASSES, strict=True)
        )
        below = widgets.HTML(f"<small>{key}</small>")
        self.view = widgets.VBox([self.bar, self.question, self.picture, self.buttons, below])
        self._show()

    def _show(self) -> None:
        self.bar.value = len(self.trials.table) - len(self.waiting)
        if not self.waiting:
            self.question.value, self.buttons.children = "<b>All answered. Thank you.</b>", ()
            self.picture.layout.display = "none"
            return
        trial, self._since = self.waiting[0], time.monotonic()
        question = self.trials.table.loc[trial, "question"]
        self.question.value = f"<b>{QUESTIONS[question]}</b>"
        self.picture.value = trial_picture(self.trials, trial)
        buttons = []
        for answer in ANSWERS[question]:
            button = widgets.Button(description=answer)
            button.on_click(lambda _, answer=answer: self.give(answer))
            buttons.append(button)
        self.buttons.children = tuple(buttons)

    def give(self, answer: str) -> None:
        """Keep an answer to the trial that is shown, and show the next."""
        trial = self.waiting[0]
        seconds = time.monotonic() - self._since
        add_answer(self.answers, answer_row(self.trials, trial, self.rater, answer, seconds))
        self.waiting = self.waiting[1:]
        self._show()
