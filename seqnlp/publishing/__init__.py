"""From a finished run to a model on the Hub, and whether what is there keeps what its card promises."""

from .bundle import build_bundle, tag_of
from .checks import Check
from .errors import PublishingError
from .hub import Publication, publish, push_if_asked, push_to_hub
from .isolation import NOT_HELD, Limits
from .space import publish_space
from .verify import Verification, verify


__all__ = [
    "NOT_HELD",
    "Check",
    "Limits",
    "Publication",
    "PublishingError",
    "Verification",
    "build_bundle",
    "publish",
    "publish_space",
    "push_if_asked",
    "push_to_hub",
    "tag_of",
    "verify",
]
