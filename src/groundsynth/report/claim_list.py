"""The claims that are tested, as ``config/claims.yaml`` states them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from groundsynth.errors import GroundsynthError

Words = Annotated[str, Field(min_length=3)]
Statistic = Literal["value", "difference", "ratio", "best", "chosen"]
#: a claim's unit, and what a fraction of the table of numbers is multiplied by
SCALES = {"pp": 100.0, "%": 100.0, "": 1.0}


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Rows(_Entry):
    """Which rows of ``metrics.csv``: a column left out may hold anything, but ``regime`` and ``class`` are empty then."""

    metric: Words
    stage: str | None = None
    system: str | None = None
    arm: str | None = Field(None, description="an arm, or a pattern such as real+joint@*")
    regime: str = ""
    class_: str = Field("", alias="class")


class Against(_Entry):
    """What differs in the rows compared with; the rest is as in ``rows``."""

    system: str | None = None
    arm: str | None = None
    regime: str | None = None


class Choice(_Entry):
    """How one of several arms is chosen before its result is looked at."""

    metric: Words
    regime: str = ""
    want: Literal["highest", "lowest"]
    by: Literal["arm", "system"] = Field("arm", description="system: the arm real+<system> is meant")


class Test(_Entry):
    """What is computed.

    ``value``: of the rows; ``difference`` and ``ratio``: to those of ``against``; ``best``: the number
    behind @ in the arm that is best; ``chosen``: the value of the arm that ``choose`` picks.
    """

    statistic: Statistic
    rows: Rows
    against: Against | None = None
    choose: Choice | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needs = {"difference": "against", "ratio": "against", "chosen": "choose"}.get(self.statistic)
        for name in ("against", "choose"):
            if (getattr(self, name) is not None) != (name == needs):
                verb = "needs" if name == needs else "does not read"
                raise ValueError(f"statistic '{self.statistic}' {verb} '{name}'; see the head of the file")
        return self


class Rule(_Entry):
    """When the claim holds here, in its unit: where the whole 95 % interval must lie.

    ``above`` or ``below`` a number: *reversed* if the whole interval lies on the other side. ``within`` two
    numbers: *reversed* if the whole interval lies outside. Anything else is *not shown*.
    """

    above: float | None = None
    below: float | None = None
    within: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(part is not None for part in (self.above, self.below, self.within)) != 1:
            raise ValueError("a rule is one of above, below, within; state exactly one")
        if self.within is not None and self.within[0] >= self.within[1]:
            raise ValueError(f"within = {list(self.within)} must rise; swap the two")
        return self

    def judge(self, low: float, high: float) -> str:
        """Return 'reproduced', 'reversed' or 'not shown' for an interval.

        >>> Rule(above=0).judge(0.1, 2), Rule(above=0).judge(-2, -0.1), Rule(above=0).judge(-1, 1)
        ('reproduced', 'reversed', 'not shown')
        """
        if self.within is not None:
            inside = self.within[0] <= low and high <= self.within[1]
            outside = high < self.within[0] or self.within[1] < low
            return "reproduced" if inside else "reversed" if outside else "not shown"
        over, under = (low > self.above, high < self.above) if self.above is not None else (
            high < self.below, low > self.below
        )  # fmt: skip
        return "reproduced" if over else "reversed" if under else "not shown"

    def __str__(self) -> str:
        if self.within is not None:
            return f"interval within {self.within[0]:g} to {self.within[1]:g}"
        return (
            f"interval above {self.above:g}" if self.above is not None else f"interval below {self.below:g}"
        )


class Claim(_Entry):
    """One published claim, and either how it is tested or why it cannot be."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    system: Annotated[int, Field(ge=1, le=7)]
    source: Words
    claim: Words
    published: float | tuple[float, float] | None = None
    unit: Literal["pp", "%", ""] = ""
    same_measure: bool = Field(True, description="false: the published number is of another measure")
    generated: bool = Field(True, description="false: no synthetic chip has a part in it")
    labelled_ground: bool = Field(
        False, description="true: no verdict where much of the training ground has no label"
    )
    test: Test | None = None
    rule: Rule | None = None
    not_tested: Words | None = None
    remark: str = ""

    @model_validator(mode="after")
    def _testable(self) -> Self:
        if (self.test is None) != (self.rule is None) or (self.test is None) == (self.not_tested is None):
            raise ValueError(
                f"claim '{self.id}' has either a test with its rule, or not_tested with the reason; state one"
            )
        return self

    @property
    def scale(self) -> float:
        """What the table's fractions are multiplied by to be in the claim's unit."""
        return SCALES[self.unit]

    @property
    def published_words(self) -> str:
        """The published number as text: ``1.47``, ``47 to 52``, or nothing."""
        if self.published is None:
            return ""
        ends = self.published if isinstance(self.published, tuple) else (self.published,)
        return " to ".join(f"{end:g}" for end in ends)


class _ClaimList(_Entry):
    claims: Annotated[list[Claim], Field(min_length=1)]

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = [claim.id for claim in self.claims]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"claim '{twice[0]}' is listed twice; one claim, one entry")
        return self


def read_claims(path: Path) -> list[Claim]:
    """Read ``config/claims.yaml``.

    Raises:
        GroundsynthError: no such file, broken YAML, or the first entry that breaks the schema.
    """
    if not path.is_file():
        raise GroundsynthError(
            f"{path}: no such file; the claims that are tested are listed in config/claims.yaml"
        )
    try:
        return _ClaimList.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))).claims
    except yaml.YAMLError as error:
        raise GroundsynthError(f"{path}: not valid YAML ({error}); correct the line") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise GroundsynthError(
            f"{path.name}: {place + ': ' if place else ''}{message}; correct this entry"
        ) from None
