"""What can go wrong in publishing, told in one line."""


class PublishingError(ValueError):
    """A model could not be published or checked; the message says why and how to go on."""
