"""Seeds: a name decides its random numbers, and nothing else does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from groundsynth.seeds import derive_seed, rng

names = st.lists(st.one_of(st.integers(), st.text("abc-", max_size=4)), min_size=1, max_size=4)


@given(names)
def test_a_seed_fits_a_signed_64_bit_integer(parts: list):
    assert 0 <= derive_seed(*parts) < 2**63


@given(names, names)
def test_other_names_give_other_seeds(one: list, other: list):
    same = [str(part) for part in one] == [str(part) for part in other]
    assert (derive_seed(*one) == derive_seed(*other)) == same


def test_a_seed_stays_what_it_is_over_versions():
    """Samples are promised by name: this number may never change."""
    assert derive_seed("joint", 0, 7) == 4716921701820052443


def test_names_are_not_glued_together():
    assert derive_seed("ab", "c") != derive_seed("a", "bc")


def test_draws_depend_on_the_name_alone():
    first = rng("sample", 3).normal(size=4)
    rng("sample", 2).normal(size=100)
    assert (rng("sample", 3).normal(size=4) == first).all()
    assert (rng("sample", 4).normal(size=4) != first).any()
