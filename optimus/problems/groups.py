"""Groups of related test functions: to hold out a function means to hold out its group.

The first group is one weighted quadratic family: who has trained on one member knows the others.
Perm stands with it because the paper's Perm is Sum of Squares. Generated families carry the tag of
the group they resemble; small neural networks resemble none and have a tag of their own.
"""

from collections.abc import Collection
from types import MappingProxyType

from optimus.errors import ConfigError

_RELATIVES = {
    "quadratic": "sphere sum_of_squares rotated_hyper_ellipsoid trid zakharov perm",
    "power": "sum_of_powers powell dixon_price",
    "valley": "rosenbrock",
    "ripple": "ackley griewank rastrigin",
    "well": "levy styblinski_tang",
}
GROUPS = MappingProxyType({tag: tuple(names.split()) for tag, names in _RELATIVES.items()})
FUNCTION_NAMES = tuple(sorted(name for members in GROUPS.values() for name in members))
NETWORK = "network"  # tag of the tasks of `networks`, and the member's name
TAGS = (*GROUPS, NETWORK)  # what can be held out
GENERATED = MappingProxyType(
    {"quadratic": "quadratic", "power": "power", "valley": "valley", "bumpy": "ripple"}
)  # generated family -> tag


def tag_of(function: str) -> str:
    """The group of a benchmark function; raises `ConfigError` naming the known ones."""
    for tag, members in GROUPS.items():
        if function in members:
            return tag
    raise ConfigError(f"unknown function {function!r}; known: {', '.join(FUNCTION_NAMES)}")


def allowed(names: Collection[str], hold_out: Collection[str]) -> tuple[str, ...]:
    """The functions of `names` whose group is not held out, sorted."""
    return tuple(sorted(name for name in names if tag_of(name) not in hold_out))


def allowed_generated(hold_out: Collection[str]) -> tuple[str, ...]:
    """The generated families whose group is not held out."""
    return tuple(name for name, tag in GENERATED.items() if tag not in hold_out)
