"""The one exception a user of the study should ever read."""


class GroundsynthError(Exception):
    """Bad input or a broken artefact, told in one sentence: the value, the rule, the cure."""
